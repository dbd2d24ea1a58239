// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * What a probe does, in the task that the kernel probes with.
 *
 * A program is a list of steps of the scenario's phases. Time on a CPU is counted in pieces in which the task cannot
 * lose its CPU, so that waiting for one is not counted; interrupts are. What is begun is taken back when the program
 * ends with an error: locks are given back, children and memory go.
 */
#include <linux/delay.h>
#include <linux/errno.h>
#include <linux/ktime.h>
#include <linux/preempt.h>
#include <linux/sched.h>
#include <linux/vmalloc.h>

#include "lab.h"

#define PIECE_NS	50000
#define SHORT_NS	(10 * NSEC_PER_MSEC)
#define LOOK_MS		2

static struct mutex locks[LAB_LOCKS];
static DEFINE_MUTEX(locks_lock);
static bool locks_ready;

static struct mutex *lab_lock(s64 number)
{
	int i;

	mutex_lock(&locks_lock);
	for (i = 0; !locks_ready && i < LAB_LOCKS; i++)
		mutex_init(&locks[i]);
	locks_ready = true;
	mutex_unlock(&locks_lock);
	return &locks[number];
}

static void compute(u64 ns)
{
	u64 done = 0;

	while (done < ns) {
		u64 since, piece = min_t(u64, ns - done, PIECE_NS);

		preempt_disable();
		since = ktime_get_ns();
		while (ktime_get_ns() - since < piece)
			cpu_relax();
		done += ktime_get_ns() - since;
		preempt_enable();
		cond_resched();
	}
}

static void sleep_for(u64 ns)
{
	if (ns < SHORT_NS)
		usleep_range(div_u64(ns, NSEC_PER_USEC) + 1, div_u64(ns, NSEC_PER_USEC) + 100);
	else
		msleep(div_u64(ns, NSEC_PER_MSEC));
}

static int allocate(struct lab_device *def, u64 bytes, s64 where)
{
	int node = where == -2 ? dev_to_node(def->live) : where == -1 ? numa_node_id() : where;
	int i;

	for (i = 0; i < LAB_MEMORY; i++)
		if (!def->memory[i])
			break;
	if (i == LAB_MEMORY)
		return -ENOSPC;
	def->memory[i] = vmalloc_node(bytes, node);
	return def->memory[i] ? 0 : -ENOMEM;
}

static int register_group(struct lab_device *parent, s64 group)
{
	int i, rc = 0;

	for (i = 0; !rc && i < LAB_DEVICES; i++) {
		struct lab_device *def = lab_devices[i];

		if (def && def->parent == parent->number && def->group == group)
			rc = lab_add(def);
	}
	return rc;
}

static void take_back(struct lab_device *parent, struct device *dev)
{
	int i;

	if (parent->functions && dev_is_pci(dev))
		pci_disable_sriov(to_pci_dev(dev));
	for (i = LAB_DEVICES - 1; i >= 0; i--) {
		struct lab_device *def = lab_devices[i];

		if (def && def->parent == parent->number && def->group >= 0 && !def->is_virtual)
			lab_remove(def);
	}
	for (i = 0; i < LAB_MEMORY; i++) {
		vfree(parent->memory[i]);
		parent->memory[i] = NULL;
	}
}

/* Until another device is bound: 0; after so much time (-1: never) the error that the scenario names. */
static int wait_for(s64 number, s64 ns, s64 error)
{
	u64 since = ktime_get_ns();

	for (;;) {
		struct lab_device *def = lab_device(number);

		if (def && READ_ONCE(def->bound))
			return 0;
		if (ns >= 0 && ktime_get_ns() - since >= ns)
			return -error;
		if (msleep_interruptible(LOOK_MS))
			return -EINTR;
	}
}

struct run {
	struct lab_device *def;
	struct device *dev;
	u16 attempt;
	int held;
	struct mutex *lock[LAB_HELD];
};

static int take_lock(struct run *run, s64 number)
{
	if (run->held == LAB_HELD)
		return -ENOLCK;
	run->lock[run->held] = lab_lock(number);
	mutex_lock(run->lock[run->held++]);
	return 0;
}

static int give_lock(struct run *run)
{
	mutex_unlock(run->lock[--run->held]);
	return 0;
}

static int take_step(struct run *run, const struct lab_op *op)
{
	switch (op->verb) {
	case LAB_COMPUTE:
		compute(op->a);
		return 0;
	case LAB_SLEEP:
		sleep_for(op->a);
		return 0;
	case LAB_LOCK:
		return take_lock(run, op->a);
	case LAB_UNLOCK:
		return give_lock(run);
	case LAB_ALLOCATE:
		return allocate(run->def, op->a, op->b);
	case LAB_REGISTER:
		return register_group(run->def, op->a);
	case LAB_VFS:
		return dev_is_pci(run->dev) ? pci_enable_sriov(to_pci_dev(run->dev), op->a) : -ENODEV;
	case LAB_WAIT:
		return wait_for(op->a, op->b, op->c);
	case LAB_FAIL:
		return op->b < 0 || run->attempt <= op->b ? -op->a : 0;
	}
	return -EINVAL;
}

static int run_program(struct lab_device *def, struct device *dev, u16 attempt, const struct lab_program *program)
{
	struct run run = { .def = def, .dev = dev, .attempt = attempt };
	int i, rc = 0;

	for (i = 0; !rc && i < program->length; i++)
		rc = take_step(&run, &program->ops[i]);
	while (run.held)
		give_lock(&run);
	return rc;
}

int lab_body(struct lab_driver *drv, struct lab_device *def, struct device *dev)
{
	int rc;

	if (!lab_supplied(def))
		return -EPROBE_DEFER;
	def->attempts[drv->number]++;
	def->body_since = ktime_get_ns();
	WRITE_ONCE(def->in_body, true);
	rc = run_program(def, dev, def->attempts[drv->number], def->has_own ? &def->own : &drv->probe);
	WRITE_ONCE(def->in_body, false);
	if (rc)
		take_back(def, dev);
	else
		WRITE_ONCE(def->bound, true);
	return rc;
}

void lab_let_go(struct lab_driver *drv, struct lab_device *def, struct device *dev)
{
	WRITE_ONCE(def->bound, false);
	take_back(def, dev);
	run_program(def, dev, 1, &drv->remove);
}

/* Return when a probe of the device is so far into its body; a probe that is shorter is passed over. */
int lab_await(struct lab_device *def, u64 ns)
{
	for (;;) {
		if (READ_ONCE(def->in_body) && ktime_get_ns() - READ_ONCE(def->body_since) >= ns)
			return 0;
		if (msleep_interruptible(1))
			return -EINTR;
	}
}
