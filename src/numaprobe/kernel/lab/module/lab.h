/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * numaprobe_lab: a scenario's devices and drivers in a real kernel.
 *
 * A scenario of numaprobe says what probes do: compute, sleep, hold a lock, register children, wait for a supplier,
 * fail. Emulated hardware has drivers of its own, which do what they do. This module has devices and drivers that do
 * what the scenario says, and hands them to the kernel's own driver core: who probes them, where, in which order and
 * how often is the kernel's business alone, and that is what is recorded.
 *
 *   tell.c      /sys/kernel/numaprobe/tell: lines that define things, and lines that do something with them
 *   things.c    buses, drivers and devices by their numbers
 *   plain.c     buses without node code of their own (as platform, virtio and nvdimm are)
 *   function.c  PCI functions below host bridges of ours, with config space out of memory
 *   body.c      what a probe does
 *   task.c      steps taken by kernel threads and workers; CPUs kept busy
 *
 * Everything is numbered by whoever writes the lines; names are only what sysfs shows. Definitions come first and stay;
 * the lines that act may come from several tasks at a time.
 */
#ifndef NUMAPROBE_LAB_H
#define NUMAPROBE_LAB_H

#include <linux/device.h>
#include <linux/mutex.h>
#include <linux/pci.h>
#include <linux/types.h>

#define LAB_BUSES	16
#define LAB_DRIVERS	64
#define LAB_DEVICES	4096
#define LAB_LOCKS	64
#define LAB_BRIDGES	64
#define LAB_MATCHES	16
#define LAB_HELD	8
#define LAB_MEMORY	8
#define LAB_NAME	132
/* domains of ours, above those of firmware (0) */
#define LAB_DOMAIN	0x20000
/* "np"; no vendor has it */
#define LAB_VENDOR	0x6e70

enum lab_kind { LAB_PLAIN, LAB_ND, LAB_PCI };

enum lab_verb {
	LAB_COMPUTE, LAB_SLEEP, LAB_LOCK, LAB_UNLOCK, LAB_ALLOCATE, LAB_REGISTER, LAB_VFS, LAB_WAIT, LAB_FAIL,
};

/* One thing that a probe does: what the numbers mean is said in body.c. */
struct lab_op {
	enum lab_verb verb;
	s64 a, b, c;
};

struct lab_program {
	unsigned int length;
	struct lab_op *ops;
};

struct lab_bus {
	enum lab_kind kind;
	char name[LAB_NAME];
	struct bus_type type;
	struct device *root;
};

struct lab_driver {
	struct lab_bus *bus;
	char name[LAB_NAME];
	enum probe_type wish;
	unsigned int number;
	unsigned int matches;
	u16 match[LAB_MATCHES];
	struct pci_device_id ids[LAB_MATCHES + 1];
	struct lab_program probe, remove;
	struct device_driver plain;
	struct pci_driver pci;
	bool registered;
};

struct lab_device {
	unsigned int number;
	struct lab_bus *bus;
	char name[LAB_NAME];
	int node;
	/* -1: none; what registers it in its probe, or is above it from the beginning */
	int parent;
	/* -1: a step adds it; else which of its parent's registrations does */
	int group;
	u16 compatible;
	unsigned int suppliers;
	u16 *supplier;
	bool has_own;
	struct lab_program own;
	/* of a PCI function */
	struct lab_bridge *bridge;
	u8 devfn;
	u16 functions;
	u16 function_compatible;
	bool is_virtual;
	bool plugged;
	u8 *config;
	/* while it is registered; a reference is held */
	struct device *live;
	bool bound;
	bool in_body;
	u64 body_since;
	u16 attempts[LAB_DRIVERS];
	void *memory[LAB_MEMORY];
};

extern struct lab_bus *lab_buses[LAB_BUSES];
extern struct lab_driver *lab_drivers[LAB_DRIVERS];
extern struct lab_device *lab_devices[LAB_DEVICES];

/* things.c */
struct lab_bus *lab_bus(long number);
struct lab_driver *lab_driver(long number);
struct lab_device *lab_device(long number);
int lab_add(struct lab_device *def);
void lab_remove(struct lab_device *def);
int lab_register(struct lab_driver *drv, bool async);
void lab_unregister(struct lab_driver *drv);
void lab_link(struct lab_device *def);
void lab_link_consumers(struct lab_device *supplier);
bool lab_supplied(struct lab_device *def);
bool lab_matches(const struct lab_driver *drv, u16 compatible);
void lab_forget_all(void);
extern struct notifier_block lab_notifier;

/* plain.c */
int lab_plain_add(struct lab_device *def);
void lab_plain_remove(struct lab_device *def);
int lab_plain_register(struct lab_driver *drv, enum probe_type type);
int lab_plain_bus_start(struct lab_bus *bus);
void lab_plain_bus_stop(struct lab_bus *bus);
struct lab_device *lab_plain_of(struct device *dev);
void lab_synchronize(void);

/* function.c */
int lab_bridge_start(long number, int node);
void lab_bridges_stop(void);
int lab_function_define(struct lab_device *def, long bridge, long devfn);
int lab_function_add(struct lab_device *def);
void lab_function_remove(struct lab_device *def);
int lab_function_register(struct lab_driver *drv, enum probe_type type);
struct lab_device *lab_function_of(struct pci_dev *pdev);

/* body.c */
int lab_body(struct lab_driver *drv, struct lab_device *def, struct device *dev);
void lab_let_go(struct lab_driver *drv, struct lab_device *def, struct device *dev);
int lab_await(struct lab_device *def, u64 ns);

/* task.c */
int lab_by_kthread(int cpu, const char *comm, int (*act)(char *), char *line);
int lab_by_worker(int cpu, bool pinned, int (*act)(char *), char *line);
int lab_busy(char *words);
void lab_idle(void);

#endif
