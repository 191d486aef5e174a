"""How doubtful timeouts are confirmed: at once as far as there are cores, then one by one."""

from toolkit.sandbox.doubtful import Doubtful
from toolkit.sandbox.errand_handle import Task
from toolkit.sandbox.errands import Errand


def doubtful(count, cores):
    """So many tasks that have timed out on a busy machine, none of them confirmed."""
    tasks = [Task(i, Errand(i, b"", 1.0)) for i in range(count)]
    found = Doubtful(cores)
    for task in tasks:
        assert found.add(task, "at first") == []
    return found, tasks


def taken(found, running=0):
    """All that may be confirmed now."""
    tasks = []
    while task := found.take(running + len(tasks)):
        tasks.append(task)
    return tasks


def test_as_many_as_there_are_cores_are_confirmed_at_once_and_then_one_by_one():
    found, tasks = doubtful(3, cores=2)
    assert taken(found) == tasks[:2]
    assert all(task.confirming for task in tasks[:2])
    assert taken(found, running=1) == tasks[2:]
    assert [found.add(task, "beside others") for task in tasks] == [[], [], []]
    assert len(found) == 3
    assert found.waiting() == tasks
    assert taken(found) == tasks[:1]


def test_what_is_doubtful_even_alone_ends_it_for_all():
    found, tasks = doubtful(3, cores=2)
    for task in (*taken(found), *taken(found, running=1)):
        found.add(task, "beside others")
    (alone,) = taken(found)
    said = found.add(alone, "alone")
    assert said == [(tasks[0], "alone"), (tasks[1], "beside others"), (tasks[2], "beside others")]
    assert len(found) == 0
    assert taken(found) == []


def test_a_single_one_is_alone_already():
    found, (task,) = doubtful(1, cores=2)
    assert taken(found) == [task]
    assert found.add(task, "alone") == [(task, "alone")]


def test_what_was_lost_with_its_worker_begins_anew():
    found, tasks = doubtful(2, cores=2)
    for task in taken(found):
        found.lose(task)
    assert [found.add(task, "again") for task in tasks] == [[], []]
    assert taken(found) == tasks
