// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Buses, drivers and devices by their numbers, and what is the same on every bus.
 *
 * Suppliers are device links, which the kernel makes between registered devices only. So a consumer is linked to the
 * suppliers that are there when it comes, and to each of the others when that one comes, before it is probed (the bus's
 * notifier). Until then its own probe asks to be deferred.
 */
#include <linux/async.h>
#include <linux/slab.h>

#include "lab.h"

struct lab_bus *lab_buses[LAB_BUSES];
struct lab_driver *lab_drivers[LAB_DRIVERS];
struct lab_device *lab_devices[LAB_DEVICES];

static DEFINE_MUTEX(links);

struct lab_bus *lab_bus(long number)
{
	return number >= 0 && number < LAB_BUSES ? lab_buses[number] : NULL;
}

struct lab_driver *lab_driver(long number)
{
	return number >= 0 && number < LAB_DRIVERS ? lab_drivers[number] : NULL;
}

struct lab_device *lab_device(long number)
{
	return number >= 0 && number < LAB_DEVICES ? lab_devices[number] : NULL;
}

bool lab_matches(const struct lab_driver *drv, u16 compatible)
{
	int i;

	for (i = 0; i < drv->matches; i++)
		if (drv->match[i] == compatible)
			return true;
	return false;
}

/* ---- suppliers --------------------------------------------------------------------------------------------------- */
static bool consumes(const struct lab_device *def, unsigned int number)
{
	int i;

	for (i = 0; i < def->suppliers; i++)
		if (def->supplier[i] == number)
			return true;
	return false;
}

/* A supplier that is not registered yet gives no link: it is linked when it comes. */
void lab_link(struct lab_device *def)
{
	int i;

	mutex_lock(&links);
	for (i = 0; i < def->suppliers; i++) {
		struct lab_device *supplier = lab_device(def->supplier[i]);

		if (supplier && supplier->live)
			device_link_add(def->live, supplier->live, DL_FLAG_AUTOPROBE_CONSUMER);
	}
	mutex_unlock(&links);
}

bool lab_supplied(struct lab_device *def)
{
	int i;

	for (i = 0; i < def->suppliers; i++) {
		struct lab_device *supplier = lab_device(def->supplier[i]);

		if (!supplier || !supplier->live)
			return false;
	}
	return true;
}

void lab_link_consumers(struct lab_device *supplier)
{
	int i;

	mutex_lock(&links);
	for (i = 0; i < LAB_DEVICES; i++) {
		struct lab_device *def = lab_devices[i];

		if (def && def->live && consumes(def, supplier->number))
			device_link_add(def->live, supplier->live, DL_FLAG_AUTOPROBE_CONSUMER);
	}
	mutex_unlock(&links);
}

static struct lab_device *live_one(struct device *dev)
{
	int i;

	for (i = 0; i < LAB_DEVICES; i++)
		if (lab_devices[i] && lab_devices[i]->live == dev)
			return lab_devices[i];
	return NULL;
}

static int notified(struct notifier_block *block, unsigned long event, void *data)
{
	struct lab_device *def = event == BUS_NOTIFY_ADD_DEVICE ? live_one(data) : NULL;

	if (def)
		lab_link_consumers(def);
	return NOTIFY_OK;
}

struct notifier_block lab_notifier = { .notifier_call = notified };

/* ---- what is done with them -------------------------------------------------------------------------------------- */
int lab_add(struct lab_device *def)
{
	if (def->live)
		return -EEXIST;
	return def->bus->kind == LAB_PCI ? lab_function_add(def) : lab_plain_add(def);
}

void lab_remove(struct lab_device *def)
{
	if (!def->live)
		return;
	if (def->bus->kind == LAB_PCI)
		lab_function_remove(def);
	else
		lab_plain_remove(def);
}

int lab_register(struct lab_driver *drv, bool async)
{
	enum probe_type type = async && drv->wish == PROBE_DEFAULT_STRATEGY ? PROBE_PREFER_ASYNCHRONOUS : drv->wish;
	int rc;

	if (drv->registered)
		return -EBUSY;
	drv->registered = true;
	if (drv->bus->kind == LAB_PCI)
		rc = lab_function_register(drv, type);
	else
		rc = lab_plain_register(drv, type);
	drv->registered = !rc;
	return rc;
}

void lab_unregister(struct lab_driver *drv)
{
	if (!drv->registered)
		return;
	if (drv->bus->kind == LAB_PCI)
		pci_unregister_driver(&drv->pci);
	else
		driver_unregister(&drv->plain);
	drv->registered = false;
}

static void free_device(struct lab_device *def)
{
	kfree(def->own.ops);
	kfree(def->supplier);
	kfree(def->config);
	kfree(def);
}

void lab_forget_all(void)
{
	int i;

	lab_synchronize();
	for (i = LAB_DRIVERS - 1; i >= 0; i--)
		if (lab_drivers[i])
			lab_unregister(lab_drivers[i]);
	for (i = LAB_DEVICES - 1; i >= 0; i--)
		if (lab_devices[i] && !lab_devices[i]->is_virtual)
			lab_remove(lab_devices[i]);
	lab_bridges_stop();
	for (i = 0; i < LAB_BUSES; i++) {
		if (lab_buses[i] && lab_buses[i]->kind != LAB_PCI)
			lab_plain_bus_stop(lab_buses[i]);
		kfree(lab_buses[i]);
		lab_buses[i] = NULL;
	}
	for (i = 0; i < LAB_DEVICES; i++) {
		if (lab_devices[i])
			free_device(lab_devices[i]);
		lab_devices[i] = NULL;
	}
	for (i = 0; i < LAB_DRIVERS; i++) {
		if (lab_drivers[i]) {
			kfree(lab_drivers[i]->probe.ops);
			kfree(lab_drivers[i]->remove.ops);
		}
		kfree(lab_drivers[i]);
		lab_drivers[i] = NULL;
	}
}
