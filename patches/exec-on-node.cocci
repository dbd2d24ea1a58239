// exec-on-node: the driver core's three synchronous call sites run near the node; PCI has no node code.
//
// Stands for: the series of 7 January 2026 ("Introduce NUMA-node-aware
// synchronous probing"). Departs from it: PCI's old function stays in the file, unused.
// Held against: numaprobe's policy "exec-on-node" (src/numaprobe/policies/exec_on_node.py).
// Files: drivers/base/dd.c drivers/pci/pci-driver.c

@@
identifier drv, dev;
@@
+struct exec_near {
+	struct work_struct work;
+	int (*func)(const struct device_driver *drv, struct device *dev, void *data);
+	const struct device_driver *drv;
+	struct device *dev;
+	void *data;
+	int ret;
+};
+
+static void numa_work_func(struct work_struct *work)
+{
+	struct exec_near *arg = container_of(work, struct exec_near, work);
+
+	arg->ret = arg->func(arg->drv, arg->dev, arg->data);
+}
+
+static int exec_near_node(int (*func)(const struct device_driver *drv, struct device *dev, void *data),
+			  const struct device_driver *drv, struct device *dev, void *data)
+{
+	struct exec_near arg = { .func = func, .drv = drv, .dev = dev, .data = data };
+	int node = dev_to_node(dev);
+
+	if (node < 0 || node >= MAX_NUMNODES || !node_online(node))
+		return func(drv, dev, data);
+	INIT_WORK_ONSTACK(&arg.work, numa_work_func);
+	queue_work_node(node, system_unbound_wq, &arg.work);
+	flush_work(&arg.work);
+	destroy_work_on_stack(&arg.work);
+	return arg.ret;
+}
+
 driver_probe_device(const struct device_driver *drv, struct device *dev)
 { ... }

@@
@@
+static int exec_scan(const struct device_driver *drv, struct device *dev, void *data)
+{
+	return bus_for_each_drv(dev->bus, NULL, data, __device_attach_driver);
+}
+
+static int exec_bind(const struct device_driver *drv, struct device *dev, void *data)
+{
+	return __driver_probe_device(drv, dev);
+}
+
+static int exec_probe(const struct device_driver *drv, struct device *dev, void *data)
+{
+	return driver_probe_device(drv, dev);
+}
+
 __device_attach(...)
 { ... }

@@
expression dev, data;
@@
 __device_attach(...)
 {
 <...
-bus_for_each_drv(dev->bus, NULL, data, __device_attach_driver)
+exec_near_node(exec_scan, NULL, dev, data)
 ...>
 }

@@
expression drv, dev;
@@
 device_driver_attach(...)
 {
 <...
-__driver_probe_device(drv, dev)
+exec_near_node(exec_bind, drv, dev, NULL)
 ...>
 }

@@
expression drv, dev;
@@
 __driver_attach(...)
 {
 <...
-driver_probe_device(drv, dev)
+exec_near_node(exec_probe, drv, dev, NULL)
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
