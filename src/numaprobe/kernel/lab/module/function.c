// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * PCI functions that are nothing but memory, below host bridges of ours.
 *
 * Each bridge has a domain and a node of its own (struct pci_sysdata, as the drivers of VMD and of Hyper-V's passed
 * through devices make them), and one bus, on which every function stands. A function has the config space that the PCI
 * core wants to see: identity, a PCI Express capability, and, where the scenario enables virtual functions, one of
 * SR-IOV; no BARs, no interrupts. From there on all is the kernel's: pci_bus_add_device(), pci_device_probe(), the
 * choice of a CPU by node, sriov_numvfs.
 */
#include <linux/slab.h>
#include <linux/version.h>

#include "lab.h"

#define CONFIG_BYTES	0x180
#define EXPRESS		0x40
#define SRIOV		0x100
#define EVERY_PAGE_SIZE	0x553

struct lab_bridge {
	struct pci_sysdata sysdata;
	struct resource numbers;
	struct pci_bus *bus;
	struct lab_device *function[256];
};

static struct lab_bridge *bridges[LAB_BRIDGES];

static struct lab_bridge *bridge_of(struct pci_bus *bus)
{
	return container_of(to_pci_sysdata(bus), struct lab_bridge, sysdata);
}

/* ---- config space ------------------------------------------------------------------------------------------------ */
static void put(u8 *config, int where, int size, u32 value)
{
	while (size--) {
		config[where++] = value;
		value >>= 8;
	}
}

static u32 get(const u8 *config, int where, int size)
{
	u32 value = 0;

	while (size--)
		value = value << 8 | (where + size < CONFIG_BYTES ? config[where + size] : 0);
	return value;
}

static bool writable(const struct lab_device *def, int where)
{
	if (where == PCI_COMMAND || where == EXPRESS + PCI_EXP_DEVCTL)
		return true;
	return def->functions && (where == SRIOV + PCI_SRIOV_CTRL || where == SRIOV + PCI_SRIOV_NUM_VF ||
				  where == SRIOV + PCI_SRIOV_SYS_PGSIZE);
}

static int read_config(struct pci_bus *bus, unsigned int devfn, int where, int size, u32 *value)
{
	struct lab_device *def = bridge_of(bus)->function[devfn];

	if (bus->number || !def || !def->plugged) {
		*value = ~0;
		return PCIBIOS_DEVICE_NOT_FOUND;
	}
	*value = get(def->config, where, size);
	return PCIBIOS_SUCCESSFUL;
}

static int write_config(struct pci_bus *bus, unsigned int devfn, int where, int size, u32 value)
{
	struct lab_device *def = bridge_of(bus)->function[devfn];

	if (bus->number || !def || !def->plugged)
		return PCIBIOS_DEVICE_NOT_FOUND;
	if (writable(def, where))
		put(def->config, where, size, value);
	return PCIBIOS_SUCCESSFUL;
}

static struct pci_ops config_space = { .read = read_config, .write = write_config };

/* Somebody may write the name of a real device to a driver's bind: that is none of ours. */
struct lab_device *lab_function_of(struct pci_dev *pdev)
{
	return pdev->bus->ops == &config_space ? bridge_of(pdev->bus)->function[pdev->devfn] : NULL;
}

static void say_sriov(struct lab_device *def)
{
	u8 *sriov = def->config + SRIOV;

	put(sriov, 0, 4, PCI_EXT_CAP_ID_SRIOV | 1 << 16);
	put(sriov, PCI_SRIOV_INITIAL_VF, 2, def->functions);
	put(sriov, PCI_SRIOV_TOTAL_VF, 2, def->functions);
	put(sriov, PCI_SRIOV_FUNC_LINK, 1, PCI_FUNC(def->devfn));
	put(sriov, PCI_SRIOV_VF_OFFSET, 2, 1);
	put(sriov, PCI_SRIOV_VF_STRIDE, 2, 1);
	put(sriov, PCI_SRIOV_VF_DID, 2, def->function_compatible);
	put(sriov, PCI_SRIOV_SUP_PGSIZE, 4, EVERY_PAGE_SIZE);
	put(sriov, PCI_SRIOV_SYS_PGSIZE, 4, 1);
}

/* A virtual function has no identity of its own (PCI Express Base Specification, "VF Vendor ID"). */
static void say_what(struct lab_device *def)
{
	u8 *config = def->config;

	memset(config, 0, CONFIG_BYTES);
	put(config, PCI_VENDOR_ID, 2, def->is_virtual ? 0xffff : LAB_VENDOR);
	put(config, PCI_DEVICE_ID, 2, def->is_virtual ? 0xffff : def->compatible);
	put(config, PCI_STATUS, 2, PCI_STATUS_CAP_LIST);
	put(config, PCI_CLASS_DEVICE, 2, PCI_CLASS_OTHERS << 8);
	put(config, PCI_CAPABILITY_LIST, 1, EXPRESS);
	put(config, EXPRESS, 1, PCI_CAP_ID_EXP);
	put(config, EXPRESS + PCI_EXP_FLAGS, 2, PCI_EXP_TYPE_RC_END << 4 | 2);
	if (def->functions)
		say_sriov(def);
}

/* ---- bridges ----------------------------------------------------------------------------------------------------- */
int lab_bridge_start(long number, int node)
{
	LIST_HEAD(resources);
	struct lab_bridge *bridge;

	if (number < 0 || number >= LAB_BRIDGES || bridges[number])
		return -EINVAL;
	bridge = kzalloc(sizeof(*bridge), GFP_KERNEL);
	if (!bridge)
		return -ENOMEM;
	bridge->sysdata.domain = LAB_DOMAIN + number;
	bridge->sysdata.node = node;
	bridge->numbers.name = "numaprobe_lab";
	bridge->numbers.end = 0xff;
	bridge->numbers.flags = IORESOURCE_BUS;
	pci_add_resource(&resources, &bridge->numbers);
	pci_lock_rescan_remove();
	bridge->bus = pci_create_root_bus(NULL, 0, &config_space, &bridge->sysdata, &resources);
	if (bridge->bus)
		pci_bus_add_devices(bridge->bus);
	pci_unlock_rescan_remove();
	if (!bridge->bus) {
		pci_free_resource_list(&resources);
		kfree(bridge);
		return -ENODEV;
	}
	bridges[number] = bridge;
	return 0;
}

void lab_bridges_stop(void)
{
	int i;

	for (i = 0; i < LAB_BRIDGES; i++) {
		if (!bridges[i])
			continue;
		pci_lock_rescan_remove();
		pci_stop_root_bus(bridges[i]->bus);
		pci_remove_root_bus(bridges[i]->bus);
		pci_unlock_rescan_remove();
		kfree(bridges[i]);
		bridges[i] = NULL;
	}
}

/* ---- functions --------------------------------------------------------------------------------------------------- */
int lab_function_define(struct lab_device *def, long bridge, long devfn)
{
	if (bridge < 0 || bridge >= LAB_BRIDGES || !bridges[bridge] || devfn < 0 || devfn > 0xff)
		return -EINVAL;
	if (bridges[bridge]->function[devfn])
		return -EEXIST;
	def->config = kzalloc(CONFIG_BYTES, GFP_KERNEL);
	if (!def->config)
		return -ENOMEM;
	def->bridge = bridges[bridge];
	def->devfn = devfn;
	def->plugged = def->is_virtual;
	say_what(def);
	def->bridge->function[devfn] = def;
	return 0;
}

int lab_function_add(struct lab_device *def)
{
	struct pci_dev *pdev;

	def->plugged = true;
	say_what(def);
	pci_lock_rescan_remove();
	pdev = pci_scan_single_device(def->bridge->bus, def->devfn);
	if (!pdev) {
		pci_unlock_rescan_remove();
		def->plugged = false;
		return -ENODEV;
	}
	get_device(&pdev->dev);
	def->live = &pdev->dev;
	lab_link(def);
	lab_link_consumers(def);
	pci_bus_add_device(pdev);
	pci_unlock_rescan_remove();
	return 0;
}

void lab_function_remove(struct lab_device *def)
{
	struct device *dev = def->live;

	def->live = NULL;
	pci_stop_and_remove_bus_device_locked(to_pci_dev(dev));
	put_device(dev);
	def->plugged = false;
}

/* ---- drivers ----------------------------------------------------------------------------------------------------- */
static struct lab_driver *driver_of(struct pci_dev *pdev)
{
	return container_of(to_pci_driver(pdev->dev.driver), struct lab_driver, pci);
}

static noinline int lab_function_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct lab_device *def = lab_function_of(pdev);

	if (!def)
		return -ENODEV;
	if (def->is_virtual)
		def->live = &pdev->dev;
	return lab_body(driver_of(pdev), def, &pdev->dev);
}

static void remove(struct pci_dev *pdev)
{
	struct lab_device *def = lab_function_of(pdev);

	lab_let_go(driver_of(pdev), def, &pdev->dev);
	if (def->is_virtual)
		def->live = NULL;
}

static int configure(struct pci_dev *pdev, int count)
{
	if (!count) {
		pci_disable_sriov(pdev);
		return 0;
	}
	return pci_enable_sriov(pdev, count) ?: count;
}

int lab_function_register(struct lab_driver *drv, enum probe_type type)
{
	int i;

	memset(&drv->pci, 0, sizeof(drv->pci));
	memset(drv->ids, 0, sizeof(drv->ids));
	for (i = 0; i < drv->matches; i++) {
		drv->ids[i].vendor = LAB_VENDOR;
		drv->ids[i].device = drv->match[i];
		drv->ids[i].subvendor = PCI_ANY_ID;
		drv->ids[i].subdevice = PCI_ANY_ID;
	}
	drv->pci.name = drv->name;
	drv->pci.id_table = drv->ids;
	drv->pci.probe = lab_function_probe;
	drv->pci.remove = remove;
	drv->pci.sriov_configure = configure;
	drv->pci.driver.probe_type = type;
	return pci_register_driver(&drv->pci);
}
