// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Buses without node code: a probe runs where the driver core calls it.
 *
 * Such are platform and virtio; nvdimm is another one, whose devices are themselves registered by asynchronous calls
 * near their node, in a domain of its own.
 */
#include <linux/async.h>
#include <linux/slab.h>
#include <linux/version.h>

#include "lab.h"

static ASYNC_DOMAIN_EXCLUSIVE(registering);

struct lab_live {
	struct device dev;
	struct lab_device *def;
};

struct lab_device *lab_plain_of(struct device *dev)
{
	return container_of(dev, struct lab_live, dev)->def;
}

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 11, 0)
static int match(struct device *dev, struct device_driver *driver)
#else
static int match(struct device *dev, const struct device_driver *driver)
#endif
{
	return lab_matches(container_of(driver, struct lab_driver, plain), lab_plain_of(dev)->compatible);
}

static int probe(struct device *dev)
{
	return lab_body(container_of(dev->driver, struct lab_driver, plain), lab_plain_of(dev), dev);
}

static int remove(struct device *dev)
{
	lab_let_go(container_of(dev->driver, struct lab_driver, plain), lab_plain_of(dev), dev);
	return 0;
}

static void release(struct device *dev)
{
	kfree(container_of(dev, struct lab_live, dev));
}

static struct device *above(struct lab_device *def)
{
	struct lab_device *parent = lab_device(def->parent);

	return parent ? parent->live : def->bus->root;
}

static void add_live(void *data, async_cookie_t cookie)
{
	struct lab_device *def = data;
	int rc;

	lab_link(def);
	rc = device_add(def->live);
	if (rc) {
		dev_err(def->live, "cannot be added: %d\n", rc);
		put_device(def->live);
		def->live = NULL;
	}
}

int lab_plain_add(struct lab_device *def)
{
	struct device *parent = above(def);
	struct lab_live *live;

	if (!parent)
		return -ENODEV;
	live = kzalloc(sizeof(*live), GFP_KERNEL);
	if (!live)
		return -ENOMEM;
	live->def = def;
	device_initialize(&live->dev);
	live->dev.bus = &def->bus->type;
	live->dev.parent = parent;
	live->dev.release = release;
	set_dev_node(&live->dev, def->node);
	if (dev_set_name(&live->dev, "%s", def->name)) {
		put_device(&live->dev);
		return -ENOMEM;
	}
	def->live = &live->dev;
	if (def->bus->kind == LAB_ND && def->group < 0) {
		async_schedule_node_domain(add_live, def, def->node, &registering);
		return 0;
	}
	add_live(def, 0);
	return def->live ? 0 : -EINVAL;
}

/* What was added asynchronously is there. */
void lab_synchronize(void)
{
	async_synchronize_full_domain(&registering);
}

void lab_plain_remove(struct lab_device *def)
{
	struct device *dev = def->live;

	def->live = NULL;
	device_unregister(dev);
}

int lab_plain_register(struct lab_driver *drv, enum probe_type type)
{
	memset(&drv->plain, 0, sizeof(drv->plain));
	drv->plain.name = drv->name;
	drv->plain.owner = THIS_MODULE;
	drv->plain.bus = &drv->bus->type;
	drv->plain.probe_type = type;
	drv->plain.probe = probe;
	drv->plain.remove = remove;
	return driver_register(&drv->plain);
}

int lab_plain_bus_start(struct lab_bus *bus)
{
	int rc;

	bus->type.name = bus->name;
	bus->type.match = match;
	rc = bus_register(&bus->type);
	if (rc)
		return rc;
	bus->root = root_device_register(bus->name);
	if (IS_ERR(bus->root)) {
		rc = PTR_ERR(bus->root);
		bus->root = NULL;
		bus_unregister(&bus->type);
		return rc;
	}
	return bus_register_notifier(&bus->type, &lab_notifier);
}

void lab_plain_bus_stop(struct lab_bus *bus)
{
	bus_unregister_notifier(&bus->type, &lab_notifier);
	root_device_unregister(bus->root);
	bus_unregister(&bus->type);
}
