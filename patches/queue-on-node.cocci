// queue-on-node: a PCI probe is queued on the unbound system queue near its node, and waited for; inline in a kworker.
//
// Stands for: the patch of 30 December 2025. Departs from it: PCI's old function stays in the file, unused, and CPU
// hotplug is not held off around the probe.
// Held against: numaprobe's policy "queue-on-node" (src/numaprobe/policies/queue_on_node.py).
// Files: drivers/pci/pci-driver.c

@@
@@
+struct pci_near_node {
+	struct work_struct work;
+	struct drv_dev_and_id *ddi;
+	int ret;
+};
+
+static void pci_probe_work_func(struct work_struct *work)
+{
+	struct pci_near_node *arg = container_of(work, struct pci_near_node, work);
+
+	arg->ret = local_pci_probe(arg->ddi);
+}
+
+static int pci_probe_near_node(struct pci_driver *drv, struct pci_dev *dev, const struct pci_device_id *id)
+{
+	struct drv_dev_and_id ddi = { drv, dev, id };
+	struct pci_near_node arg = { .ddi = &ddi };
+	int node = dev_to_node(&dev->dev);
+
+	dev->is_probed = 1;
+	if (node < 0 || node >= MAX_NUMNODES || !node_online(node) || pci_physfn_is_probed(dev) ||
+	    (current->flags & PF_WQ_WORKER)) {
+		arg.ret = local_pci_probe(&ddi);
+	} else {
+		INIT_WORK_ONSTACK(&arg.work, pci_probe_work_func);
+		queue_work_node(node, system_unbound_wq, &arg.work);
+		flush_work(&arg.work);
+		destroy_work_on_stack(&arg.work);
+	}
+	dev->is_probed = 0;
+	return arg.ret;
+}
+
 __pci_device_probe(...)
 {
 <...
-pci_call_probe
+pci_probe_near_node
 (...)
 ...>
 }
