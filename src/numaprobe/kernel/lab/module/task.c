// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Steps taken by kernel threads and by workers, and CPUs that are kept busy.
 *
 * A step of a scenario is mostly taken by a program that writes a line. Hotplug drivers plug devices in from a thread of
 * their own, others from a work: then a line is carried out by such a task, and the writer waits for it.
 */
#include <linux/completion.h>
#include <linux/cpumask.h>
#include <linux/delay.h>
#include <linux/kthread.h>
#include <linux/ktime.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/workqueue.h>

#include "lab.h"

#define LAB_TASKS	256

struct job {
	struct work_struct work;
	struct completion done;
	int (*act)(char *line);
	char *line;
	int rc;
};

static int in_thread(void *data)
{
	struct job *job = data;

	job->rc = job->act(job->line);
	complete(&job->done);
	return 0;
}

int lab_by_kthread(int cpu, const char *comm, int (*act)(char *), char *line)
{
	struct job job = { .act = act, .line = line };
	struct task_struct *task;

	init_completion(&job.done);
	task = kthread_create(in_thread, &job, "%s", comm);
	if (IS_ERR(task))
		return PTR_ERR(task);
	if (cpu >= 0)
		kthread_bind(task, cpu);
	wake_up_process(task);
	wait_for_completion(&job.done);
	return job.rc;
}

static long on_cpu(void *data)
{
	struct job *job = data;

	return job->act(job->line);
}

static void in_work(struct work_struct *work)
{
	struct job *job = container_of(work, struct job, work);

	job->rc = job->act(job->line);
}

/* By a worker of that CPU's pool, or by an unbound one near it. */
int lab_by_worker(int cpu, bool pinned, int (*act)(char *), char *line)
{
	struct job job = { .act = act, .line = line };
	struct workqueue_struct *queue;

	if (cpu < 0 || cpu >= nr_cpu_ids || !cpu_online(cpu))
		return -EINVAL;
	if (pinned)
		return work_on_cpu(cpu, on_cpu, &job);
	queue = alloc_workqueue("numaprobe_lab", WQ_UNBOUND, 0);
	if (!queue)
		return -ENOMEM;
	INIT_WORK_ONSTACK(&job.work, in_work);
	queue_work_on(cpu, queue, &job.work);
	flush_work(&job.work);
	destroy_work_on_stack(&job.work);
	destroy_workqueue(queue);
	return job.rc;
}

/* ---- busy CPUs --------------------------------------------------------------------------------------------------- */
struct turns {
	s64 compute;
	s64 sleep;
	s64 duration;
};

static struct task_struct *busy[LAB_TASKS];
static unsigned int busy_tasks;
static DEFINE_MUTEX(busy_lock);

static bool over(u64 since, const struct turns *turns)
{
	return kthread_should_stop() || (turns->duration >= 0 && ktime_get_ns() - since >= turns->duration);
}

static int keep_busy(void *data)
{
	struct turns *turns = data;
	u64 since = ktime_get_ns();

	while (!over(since, turns)) {
		u64 turn = ktime_get_ns();

		while (!over(since, turns) && (turns->compute < 0 || ktime_get_ns() - turn < turns->compute)) {
			cpu_relax();
			cond_resched();
		}
		if (turns->sleep > 0)
			usleep_range(turns->sleep / NSEC_PER_USEC + 1, turns->sleep / NSEC_PER_USEC + 100);
	}
	while (!kthread_should_stop())
		msleep_interruptible(10);
	kfree(turns);
	return 0;
}

static int start_one(const struct turns *turns, int cpu, const struct cpumask *floating)
{
	struct turns *own = kmemdup(turns, sizeof(*turns), GFP_KERNEL);
	struct task_struct *task;

	if (!own || busy_tasks == LAB_TASKS) {
		kfree(own);
		return -ENOSPC;
	}
	task = kthread_create(keep_busy, own, "busy");
	if (IS_ERR(task)) {
		kfree(own);
		return PTR_ERR(task);
	}
	if (floating)
		set_cpus_allowed_ptr(task, floating);
	else
		kthread_bind(task, cpu);
	busy[busy_tasks++] = task;
	wake_up_process(task);
	return 0;
}

/* TASKS FLOATING COMPUTE SLEEP DURATION CPUS: so many for each of these CPUs; -1 ns: without end. */
int lab_busy(char *words)
{
	struct turns turns;
	cpumask_var_t cpus;
	int tasks, floating, at = 0, rc = -EINVAL, cpu, i;

	if (sscanf(words, "%d %d %lld %lld %lld %n", &tasks, &floating, &turns.compute, &turns.sleep, &turns.duration,
		   &at) < 5 || !at)
		return -EINVAL;
	if (!alloc_cpumask_var(&cpus, GFP_KERNEL))
		return -ENOMEM;
	mutex_lock(&busy_lock);
	rc = cpulist_parse(words + at, cpus);
	for_each_cpu_and(cpu, cpus, cpu_online_mask)
		for (i = 0; !rc && i < tasks; i++)
			rc = start_one(&turns, cpu, floating ? cpus : NULL);
	mutex_unlock(&busy_lock);
	free_cpumask_var(cpus);
	return rc;
}

void lab_idle(void)
{
	mutex_lock(&busy_lock);
	while (busy_tasks)
		kthread_stop(busy[--busy_tasks]);
	mutex_unlock(&busy_lock);
}
