// probe-on-node: one helper in the driver core queues a synchronous probe near its node; PCI has no node code.
//
// Stands for: the review of 17 January 2026 and the second version of the
// series. Departs from it: PCI's old function stays in the file, unused.
// Held against: numaprobe's policy "probe-on-node" (src/numaprobe/policies/probe_on_node.py).
// Files: drivers/base/dd.c drivers/pci/pci-driver.c

@@
identifier drv, dev;
@@
+struct probe_near {
+	struct work_struct work;
+	const struct device_driver *drv;
+	struct device *dev;
+	int ret;
+};
+
+static void probe_node_work_func(struct work_struct *work)
+{
+	struct probe_near *arg = container_of(work, struct probe_near, work);
+
+	arg->ret = __driver_probe_device(arg->drv, arg->dev);
+}
+
+static int probe_near_node(const struct device_driver *drv, struct device *dev, bool is_async)
+{
+	struct probe_near arg = { .drv = drv, .dev = dev };
+	int node = dev_to_node(dev);
+
+	if (is_async || node < 0 || node >= MAX_NUMNODES || !node_online(node))
+		return __driver_probe_device(drv, dev);
+	INIT_WORK_ONSTACK(&arg.work, probe_node_work_func);
+	queue_work_node(node, system_unbound_wq, &arg.work);
+	flush_work(&arg.work);
+	destroy_work_on_stack(&arg.work);
+	return arg.ret;
+}
+
 driver_probe_device(const struct device_driver *drv, struct device *dev
+	, bool is_async
 )
 {
 <...
-__driver_probe_device(drv, dev)
+probe_near_node(drv, dev, is_async)
 ...>
 }

@@
expression drv, dev;
@@
 __driver_attach(...)
 {
 <...
-driver_probe_device(drv, dev)
+driver_probe_device(drv, dev, false)
 ...>
 }

@@
expression drv, dev;
@@
 __driver_attach_async_helper(...)
 {
 <...
-driver_probe_device(drv, dev)
+driver_probe_device(drv, dev, true)
 ...>
 }

@@
expression drv, dev;
identifier data;
type T;
@@
 __device_attach_driver(...)
 {
 ...
 T data = ...;
 <...
-driver_probe_device(drv, dev)
+driver_probe_device(drv, dev, data->check_async && data->want_async)
 ...>
 }

@@
expression drv, dev;
@@
 device_driver_attach(...)
 {
 <...
-__driver_probe_device(drv, dev)
+probe_near_node(drv, dev, false)
 ...>
 }

@@
@@
+static int pci_probe_here(struct pci_driver *drv, struct pci_dev *dev, const struct pci_device_id *id)
+{
+	struct drv_dev_and_id ddi = { drv, dev, id };
+	int ret;
+
+	dev->is_probed = 1;
+	ret = local_pci_probe(&ddi);
+	dev->is_probed = 0;
+	return ret;
+}
+
 __pci_device_probe(...)
 {
 <...
-pci_call_probe
+pci_probe_here
 (...)
 ...>
 }
