// skip-in-worker: a PCI probe stays with its caller if that is a kworker already.
//
// Stands for: the patch of 27 December 2025. Departs from it in nothing: the question is asked where PCI asks whether a
// virtual function is probed below its physical function, and answered the same way.
// Held against: numaprobe's policy "skip-in-worker" (src/numaprobe/policies/skip_in_worker.py).
// Files: drivers/pci/pci-driver.c

@@
identifier dev;
@@
 pci_call_probe(...)
 {
 <...
-pci_physfn_is_probed(dev)
+(pci_physfn_is_probed(dev) || (current->flags & PF_WQ_WORKER))
 ...>
 }
