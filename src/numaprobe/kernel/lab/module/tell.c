// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * /sys/kernel/numaprobe/tell: one line at a time, carried out by the task that writes it.
 *
 * Lines that define (numbers are the writer's; a name is the rest of the line):
 *   bus B KIND NAME                                  KIND: plain nd pci
 *   bridge R NODE
 *   driver D B TYPE NAME                             TYPE: default async sync
 *   match D COMPATIBLE
 *   device N B NODE PARENT GROUP COMPATIBLE NAME     PARENT, GROUP: -1 for none
 *   function N B R DEVFN COMPATIBLE VFS VFCOMPATIBLE
 *   virtual N B R DEVFN PF
 *   supplier N SUPPLIER
 *   own N                                            what N costs is its own, not its driver's
 *   do WHOSE VERB A B C                              WHOSE: pD (probe of D), rD (remove), dN (probe of N)
 * Lines that act:
 *   add N...  remove N...  sync                      sync: what was added asynchronously is there
 *   load D...  load-async D...  register D...  unregister D...
 *   settle                                           wait_for_device_probe()
 *   await N NS                                       until a probe of N is so far
 *   busy ...                                         see task.c
 *   kthread CPU COMM LINE  worker CPU PINNED LINE    the line, by such a task
 *
 * An error is the write's: EINVAL for a line that means nothing, else what the kernel said.
 */
#include <linux/async.h>
#include <linux/kobject.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/sysfs.h>

#include "lab.h"

static DEFINE_MUTEX(defining);

static int word_of(const char *word, const char *const *words, int count)
{
	int i = match_string(words, count, word);

	return i < 0 ? -EINVAL : i;
}

/* ---- definitions ------------------------------------------------------------------------------------------------- */
static const char *const kinds[] = { "plain", "nd", "pci" };
static const char *const wishes[] = { "default", "async", "sync" };
static const char *const verbs[] = {
	"compute", "sleep", "lock", "unlock", "allocate", "register", "vfs", "wait", "fail",
};

static int define_bus(const char *words)
{
	struct lab_bus *bus;
	int number, at = 0, kind, rc;
	char word[8];

	if (sscanf(words, "%d %7s %n", &number, word, &at) < 2 || !at || number < 0 || number >= LAB_BUSES)
		return -EINVAL;
	kind = word_of(word, kinds, ARRAY_SIZE(kinds));
	if (kind < 0 || lab_buses[number])
		return -EINVAL;
	bus = kzalloc(sizeof(*bus), GFP_KERNEL);
	if (!bus)
		return -ENOMEM;
	bus->kind = kind;
	strscpy(bus->name, words + at, sizeof(bus->name));
	rc = kind == LAB_PCI ? 0 : lab_plain_bus_start(bus);
	if (rc)
		kfree(bus);
	else
		lab_buses[number] = bus;
	return rc;
}

static int define_bridge(const char *words)
{
	int number, node;

	if (sscanf(words, "%d %d", &number, &node) != 2)
		return -EINVAL;
	return lab_bridge_start(number, node);
}

static int define_driver(const char *words)
{
	struct lab_driver *drv;
	int number, bus, at = 0, wish;
	char word[8];

	if (sscanf(words, "%d %d %7s %n", &number, &bus, word, &at) < 3 || !at)
		return -EINVAL;
	wish = word_of(word, wishes, ARRAY_SIZE(wishes));
	if (number < 0 || number >= LAB_DRIVERS || lab_drivers[number] || !lab_bus(bus) || wish < 0)
		return -EINVAL;
	drv = kzalloc(sizeof(*drv), GFP_KERNEL);
	if (!drv)
		return -ENOMEM;
	drv->number = number;
	drv->bus = lab_bus(bus);
	drv->wish = wish;
	strscpy(drv->name, words + at, sizeof(drv->name));
	lab_drivers[number] = drv;
	return 0;
}

static int define_match(const char *words)
{
	struct lab_driver *drv;
	int number, compatible;

	if (sscanf(words, "%d %d", &number, &compatible) != 2)
		return -EINVAL;
	drv = lab_driver(number);
	if (!drv || drv->matches == LAB_MATCHES)
		return -EINVAL;
	drv->match[drv->matches++] = compatible;
	return 0;
}

static struct lab_device *new_device(int number, int bus)
{
	struct lab_device *def;

	if (number < 0 || number >= LAB_DEVICES || lab_devices[number] || !lab_bus(bus))
		return ERR_PTR(-EINVAL);
	def = kzalloc(sizeof(*def), GFP_KERNEL);
	if (!def)
		return ERR_PTR(-ENOMEM);
	def->number = number;
	def->bus = lab_bus(bus);
	def->parent = -1;
	def->group = -1;
	def->node = NUMA_NO_NODE;
	return def;
}

static int define_device(const char *words)
{
	int number, bus, node, parent, group, compatible, at = 0;
	struct lab_device *def;

	if (sscanf(words, "%d %d %d %d %d %d %n", &number, &bus, &node, &parent, &group, &compatible, &at) < 6 || !at)
		return -EINVAL;
	def = new_device(number, bus);
	if (IS_ERR(def))
		return PTR_ERR(def);
	def->node = node;
	def->parent = parent;
	def->group = group;
	def->compatible = compatible;
	strscpy(def->name, words + at, sizeof(def->name));
	lab_devices[number] = def;
	return 0;
}

static int stands(struct lab_device *def, int bridge, int devfn)
{
	int rc = lab_function_define(def, bridge, devfn);

	if (rc)
		kfree(def);
	else
		lab_devices[def->number] = def;
	return rc;
}

static int define_function(const char *words)
{
	int number, bus, bridge, devfn, compatible, functions, function_compatible;
	struct lab_device *def;

	if (sscanf(words, "%d %d %d %d %d %d %d", &number, &bus, &bridge, &devfn, &compatible, &functions,
		   &function_compatible) != 7)
		return -EINVAL;
	def = new_device(number, bus);
	if (IS_ERR(def))
		return PTR_ERR(def);
	def->compatible = compatible;
	def->functions = functions;
	def->function_compatible = function_compatible;
	return stands(def, bridge, devfn);
}

static int define_virtual(const char *words)
{
	int number, bus, bridge, devfn, physical;
	struct lab_device *def;

	if (sscanf(words, "%d %d %d %d %d", &number, &bus, &bridge, &devfn, &physical) != 5)
		return -EINVAL;
	def = new_device(number, bus);
	if (IS_ERR(def))
		return PTR_ERR(def);
	def->parent = physical;
	def->is_virtual = true;
	return stands(def, bridge, devfn);
}

static int define_supplier(const char *words)
{
	struct lab_device *def;
	int number, supplier;
	u16 *all;

	if (sscanf(words, "%d %d", &number, &supplier) != 2)
		return -EINVAL;
	def = lab_device(number);
	if (!def || supplier < 0 || supplier >= LAB_DEVICES)
		return -EINVAL;
	all = krealloc(def->supplier, (def->suppliers + 1) * sizeof(*all), GFP_KERNEL);
	if (!all)
		return -ENOMEM;
	def->supplier = all;
	def->supplier[def->suppliers++] = supplier;
	return 0;
}

static int define_own(const char *words)
{
	int number;

	if (kstrtoint(words, 10, &number) || !lab_device(number))
		return -EINVAL;
	lab_device(number)->has_own = true;
	return 0;
}

static struct lab_program *program_of(char whose, int number)
{
	switch (whose) {
	case 'p':
		return lab_driver(number) ? &lab_driver(number)->probe : NULL;
	case 'r':
		return lab_driver(number) ? &lab_driver(number)->remove : NULL;
	case 'd':
		return lab_device(number) ? &lab_device(number)->own : NULL;
	}
	return NULL;
}

static bool sensible(const struct lab_op *op)
{
	if (op->verb == LAB_LOCK)
		return op->a >= 0 && op->a < LAB_LOCKS;
	return op->a >= 0 || op->verb == LAB_WAIT;
}

static int define_do(const char *words)
{
	struct lab_program *program;
	struct lab_op op = {}, *ops;
	char whose, word[12];
	int number, verb;

	if (sscanf(words, "%c%d %11s %lld %lld %lld", &whose, &number, word, &op.a, &op.b, &op.c) != 6)
		return -EINVAL;
	program = program_of(whose, number);
	verb = word_of(word, verbs, ARRAY_SIZE(verbs));
	if (!program || verb < 0)
		return -EINVAL;
	op.verb = verb;
	if (!sensible(&op))
		return -EINVAL;
	ops = krealloc(program->ops, (program->length + 1) * sizeof(op), GFP_KERNEL);
	if (!ops)
		return -ENOMEM;
	program->ops = ops;
	program->ops[program->length++] = op;
	return 0;
}

/* ---- actions ----------------------------------------------------------------------------------------------------- */
static int each(char *words, int (*act)(long number))
{
	char *word;
	long number;
	int rc = 0;

	while (!rc && (word = strsep(&words, " "))) {
		if (!*word)
			continue;
		rc = kstrtol(word, 10, &number);
		if (!rc)
			rc = act(number);
	}
	return rc;
}

static int add_one(long number)
{
	return lab_device(number) ? lab_add(lab_device(number)) : -EINVAL;
}

static int remove_one(long number)
{
	if (!lab_device(number))
		return -EINVAL;
	lab_remove(lab_device(number));
	return 0;
}

static int register_one(long number)
{
	return lab_driver(number) ? lab_register(lab_driver(number), false) : -EINVAL;
}

static int register_async(long number)
{
	return lab_driver(number) ? lab_register(lab_driver(number), true) : -EINVAL;
}

static int unregister_one(long number)
{
	if (!lab_driver(number))
		return -EINVAL;
	lab_unregister(lab_driver(number));
	return 0;
}

/* As the end of do_init_module() does it: whoever loads a module waits for all asynchronous probes. */
static int load(char *words)
{
	int rc = each(words, register_one);

	async_synchronize_full();
	return rc;
}

static int settle(void)
{
	lab_synchronize();
	wait_for_device_probe();
	wait_for_device_probe();
	return 0;
}

static int await(const char *words)
{
	int number;
	s64 ns;

	if (sscanf(words, "%d %lld", &number, &ns) != 2 || !lab_device(number))
		return -EINVAL;
	return lab_await(lab_device(number), ns);
}

static int act(char *line)
{
	char *verb = strsep(&line, " ");
	char *words = line ? line : verb + strlen(verb);

	if (!strcmp(verb, "add"))
		return each(words, add_one);
	if (!strcmp(verb, "remove"))
		return each(words, remove_one);
	if (!strcmp(verb, "load"))
		return load(words);
	if (!strcmp(verb, "load-async"))
		return each(words, register_async);
	if (!strcmp(verb, "register"))
		return each(words, register_one);
	if (!strcmp(verb, "unregister"))
		return each(words, unregister_one);
	if (!strcmp(verb, "settle"))
		return settle();
	if (!strcmp(verb, "await"))
		return await(words);
	if (!strcmp(verb, "busy"))
		return lab_busy(words);
	if (!strcmp(verb, "sync")) {
		lab_synchronize();
		return 0;
	}
	return -EINVAL;
}

static int by_kthread(char *words)
{
	char comm[TASK_COMM_LEN];
	int cpu, at = 0;

	if (sscanf(words, "%d %15s %n", &cpu, comm, &at) < 2 || !at)
		return -EINVAL;
	return lab_by_kthread(cpu, comm, act, words + at);
}

static int by_worker(char *words)
{
	int cpu, pinned, at = 0;

	if (sscanf(words, "%d %d %n", &cpu, &pinned, &at) < 2 || !at)
		return -EINVAL;
	return lab_by_worker(cpu, pinned, act, words + at);
}

/* ---- lines ------------------------------------------------------------------------------------------------------- */
static const struct {
	const char *verb;
	int (*define)(const char *words);
} definitions[] = {
	{ "bus ", define_bus },		{ "bridge ", define_bridge },	  { "driver ", define_driver },
	{ "match ", define_match },	{ "device ", define_device },	  { "function ", define_function },
	{ "virtual ", define_virtual }, { "supplier ", define_supplier }, { "own ", define_own },
	{ "do ", define_do },
};

static int carry_out(char *line)
{
	int i, rc;

	for (i = 0; i < ARRAY_SIZE(definitions); i++) {
		size_t length = strlen(definitions[i].verb);

		if (strncmp(line, definitions[i].verb, length))
			continue;
		mutex_lock(&defining);
		rc = definitions[i].define(line + length);
		mutex_unlock(&defining);
		return rc;
	}
	if (!strncmp(line, "kthread ", 8))
		return by_kthread(line + 8);
	if (!strncmp(line, "worker ", 7))
		return by_worker(line + 7);
	return act(line);
}

static ssize_t tell_store(struct kobject *kobj, struct kobj_attribute *attr, const char *buf, size_t count)
{
	char *line = kstrndup(buf, count, GFP_KERNEL);
	int rc;

	if (!line)
		return -ENOMEM;
	rc = carry_out(strim(line));
	kfree(line);
	return rc ? rc : count;
}

static struct kobj_attribute tell = __ATTR_WO(tell);
static struct kobject *place;

static int __init lab_init(void)
{
	int rc;

	place = kobject_create_and_add("numaprobe", kernel_kobj);
	if (!place)
		return -ENOMEM;
	rc = sysfs_create_file(place, &tell.attr);
	if (rc)
		kobject_put(place);
	return rc;
}

static void __exit lab_exit(void)
{
	kobject_put(place);
	lab_idle();
	lab_forget_all();
}

module_init(lab_init);
module_exit(lab_exit);
MODULE_DESCRIPTION("devices and drivers of a numaprobe scenario");
MODULE_LICENSE("Dual MIT/GPL");
