// spread: every probe on the next LLC of its node, on an unbound queue of its own: scope cache, strict.
//
// Stands for: numaprobe's own proposal. Departs from it: PCI's old function stays in the file, unused; the
// queue is made at the first probe; of LLCs the scheduler's domains tell.
// Held against: numaprobe's policy "spread" (src/numaprobe/policies/spread.py).
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
+static void spread_work_func(struct work_struct *work)
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
+	return work && work->func == spread_work_func && numa_node_id() == node;
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
+	queue = alloc_workqueue("probe_llc", WQ_UNBOUND, 0);
+	attrs = alloc_workqueue_attrs();
+	if (queue && attrs) {
+		attrs->affn_scope = WQ_AFFN_CACHE;
+		attrs->affn_strict = true;
+		WARN_ON(apply_workqueue_attrs(queue, attrs));
+	}
+	free_workqueue_attrs(attrs);
+	if (queue && cmpxchg(&kept, NULL, queue))
+		destroy_workqueue(queue);
+	return READ_ONCE(kept);
+}
+
+static int probe_may_use(int cpu)
+{
+	return cpu_possible(cpu) && cpu_online(cpu) && cpumask_test_cpu(cpu, housekeeping_cpumask(HK_TYPE_DOMAIN));
+}
+
+static int probe_first_of_llc(int node, int cpu)
+{
+	int other;
+
+	if (cpu_to_node(cpu) != node || !probe_may_use(cpu))
+		return false;
+	for (other = 0; other < cpu; other++) {
+		if (cpu_to_node(other) == node && probe_may_use(other) && cpus_share_cache(other, cpu))
+			return false;
+	}
+	return true;
+}
+
+static int probe_count_llcs(int node)
+{
+	int count = 0, cpu;
+
+	for (cpu = 0; cpu < nr_cpu_ids; cpu++)
+		count += probe_first_of_llc(node, cpu);
+	return count;
+}
+
+static int probe_nearest_node(int node)
+{
+	int best = NUMA_NO_NODE, other;
+
+	for (other = 0; other < MAX_NUMNODES; other++) {
+		if (node_online(other) && probe_count_llcs(other) &&
+		    (best == NUMA_NO_NODE || node_distance(node, other) < node_distance(node, best)))
+			best = other;
+	}
+	return best;
+}
+
+static int probe_next_cpu(int node)
+{
+	static unsigned int turns[MAX_NUMNODES];
+	int near = probe_nearest_node(node), cpu, turn;
+
+	if (near == NUMA_NO_NODE)
+		return nr_cpu_ids;
+	turn = xadd(&turns[node], 1) % probe_count_llcs(near);
+	for (cpu = 0; cpu < nr_cpu_ids; cpu++) {
+		if (probe_first_of_llc(near, cpu) && turn-- == 0)
+			break;
+	}
+	return cpu;
+}
+
+static int probe_near_node(const struct device_driver *drv, struct device *dev, bool is_async)
+{
+	struct probe_near arg = { .drv = drv, .dev = dev };
+	struct workqueue_struct *queue = probe_near_wq();
+	int node = dev_to_node(dev), cpu;
+
+	if (!queue || node < 0 || node >= MAX_NUMNODES || !node_online(node) || probe_is_nested(node))
+		return __driver_probe_device(drv, dev);
+	cpu = probe_next_cpu(node);
+	if (cpu >= nr_cpu_ids)
+		return __driver_probe_device(drv, dev);
+	INIT_WORK_ONSTACK(&arg.work, spread_work_func);
+	queue_work_on(cpu, queue, &arg.work);
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
