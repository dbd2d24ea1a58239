// strict-node: every probe, asynchronous ones too, on an unbound queue of its own: scope numa, strict.
//
// Stands for: numaprobe's own proposal. Departs from it: PCI's old function stays in the file, unused; the
// queue is made at the first probe.
// Held against: numaprobe's policy "strict-node" (src/numaprobe/policies/strict_node.py).
// Files: drivers/base/dd.c drivers/pci/pci-driver.c

@@
@@
 #include <linux/slab.h>
+#include <linux/sched/isolation.h>
+#include <linux/sched/topology.h>
+#include <linux/workqueue.h>

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
+static void strict_node_work_func(struct work_struct *work)
+{
+	struct probe_near *arg = container_of(work, struct probe_near, work);
+
+	arg->ret = __driver_probe_device(arg->drv, arg->dev);
+}
+
+static int probe_is_nested(int node)
+{
+	struct work_struct *work = current_work();
+
+	return work && work->func == strict_node_work_func && numa_node_id() == node;
+}
+
+static struct workqueue_struct *probe_near_wq(void)
+{
+	static struct workqueue_struct *kept;
+	struct workqueue_struct *queue = READ_ONCE(kept);
+	struct workqueue_attrs *attrs;
+
+	if (queue)
+		return queue;
+	queue = alloc_workqueue("probe_node", WQ_UNBOUND, 0);
+	attrs = alloc_workqueue_attrs();
+	if (queue && attrs) {
+		attrs->affn_scope = WQ_AFFN_NUMA;
+		attrs->affn_strict = true;
+		WARN_ON(apply_workqueue_attrs(queue, attrs));
+	}
+	free_workqueue_attrs(attrs);
+	if (queue && cmpxchg(&kept, NULL, queue))
+		destroy_workqueue(queue);
+	return READ_ONCE(kept);
+}
+
+static int probe_near_node(const struct device_driver *drv, struct device *dev, bool is_async)
+{
+	struct probe_near arg = { .drv = drv, .dev = dev };
+	struct workqueue_struct *queue = probe_near_wq();
+	int node = dev_to_node(dev);
+
+	if (!queue || node < 0 || node >= MAX_NUMNODES || !node_online(node) || probe_is_nested(node) ||
+	    !cpumask_intersects(cpumask_of_node(node), housekeeping_cpumask(HK_TYPE_DOMAIN)))
+		return __driver_probe_device(drv, dev);
+	INIT_WORK_ONSTACK(&arg.work, strict_node_work_func);
+	queue_work_node(node, queue, &arg.work);
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
