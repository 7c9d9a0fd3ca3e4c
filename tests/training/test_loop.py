from __future__ import annotations

import signal
import threading

import numpy as np
import pytest
from fake_training import Bench, Config, Recorder
from gymnasium.vector import AutoresetMode
from gymnasium.wrappers import TimeLimit
from hypothesis import given
from hypothesis import strategies as st
from scripted_envs import ForeignVectorEnv, ScriptedEnv

from slc_agents.callbacks import Callback, CallbackList
from slc_agents.envs import make_vector_env
from slc_agents.errors import NonFiniteError
from slc_agents.training.loop import blocks_until
from slc_agents.training.state import TrainingState

# -- gradient steps ----------------------------------------------------------------------------------------------------


def updates_by_counting(start, total, n, update_after, update_every):
    """Looks at every single step."""
    blocks, t = [], start
    while t < start + total:
        for step in range(t + 1, t + n + 1):
            if step >= update_after and (step - update_after) % update_every == 0:
                blocks.append(t + n)
        t += n
    return blocks


@given(
    st.integers(1, 70),
    st.integers(1, 5),
    st.integers(0, 50),
    st.integers(1, 40),
    st.integers(0, 40),
    st.integers(1, 40),
)
def test_blocks_are_due_as_counted(total, n_envs, update_after, update_every, start, steps_per_epoch):
    config = Config(update_after=update_after, update_every=update_every, steps_per_epoch=steps_per_epoch)
    bench = Bench(total, n_envs, config, start=start).train()
    expected = updates_by_counting(start, total, n_envs, update_after, update_every)
    assert bench.learner.updates == expected
    assert bench.state.run.blocks == bench.state.run.finished_blocks == len(expected)
    assert bench.state.n_updates == 3 * len(expected)
    assert bench.t == start + -(-total // n_envs) * n_envs


def test_blocks_until_is_the_formula():
    assert [blocks_until(t, 20, 10) for t in (0, 19, 20, 29, 30, 45)] == [0, 0, 1, 1, 2, 3]


def test_blocks_that_cannot_be_sampled_yet_are_deferred_not_lost():
    bench = Bench(60, config=Config(update_after=20, update_every=10), ready_after=45).train()
    assert bench.learner.updates == [45, 45, 45, 50, 60]
    assert bench.state.run.due_blocks == 0


def test_blocks_still_deferred_at_the_end():
    bench = Bench(60, ready_after=100).train()
    assert bench.learner.updates == []
    assert bench.state.run.due_blocks == 5


# -- actions -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n_envs", "start_steps"), [(1, 0), (1, 5), (3, 6), (3, 7), (3, 8), (3, 1), (2, 100)])
def test_the_first_actions_are_random_by_their_index(n_envs, start_steps):
    bench = Bench(30, n_envs, Config(start_steps=start_steps)).train()
    actions = np.concatenate([added[1] for added in bench.memory.added])  # index t + i
    by_policy = (actions == 0.5 + np.arange(len(actions))[:, None] % n_envs / 8).all(axis=1)
    assert by_policy.tolist() == [index >= start_steps for index in range(len(actions))]
    random = actions[~by_policy]
    assert ((random >= -1) & (random < 1)).all()
    assert len(np.unique(random)) == random.size
    assert actions.dtype == np.float32
    # The environment gets them in its own units: [-1, 1] is [-2, 4] there.
    received = np.stack([env.unwrapped.actions for env in bench.env.envs], axis=1).reshape(-1, 2)
    np.testing.assert_allclose(received, 1 + 3 * actions, rtol=1e-6, atol=1e-6)


def test_random_actions_are_uniform():
    bench = Bench(2000, 4, Config(start_steps=2000)).train()
    actions = np.concatenate([added[1] for added in bench.memory.added])
    counts, _ = np.histogram(actions, 10, (-1, 1))
    assert np.abs(counts - 400).max() < 80  # 4 standard deviations


def test_a_later_run_counts_from_the_agents_first_step():
    bench = Bench(30, 2, Config(start_steps=12), start=10).train()
    actions = np.concatenate([added[1] for added in bench.memory.added])
    assert (actions == [[0.5], [0.625]] * 15).all(axis=1).tolist() == [False] * 2 + [True] * 28


@pytest.mark.parametrize("start_steps", [0, 4])  # 4: the third environment's action alone is the policy's
def test_actions_that_are_not_finite_are_refused(start_steps):
    bench = Bench(30, 3, Config(start_steps=start_steps))
    bench.learner.action = np.nan
    with pytest.raises(
        NonFiniteError, match=r"action for environment \d is not finite at step [03]: .*lower the learn"
    ):
        bench.train()
    assert bench.t == (3 if start_steps else 0)


# -- what is remembered ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("opt_type", "sign"), [("maximize", 1.0), ("minimize", -1.0)])
def test_transitions_and_the_sign_of_costs(opt_type, sign):
    bench = Bench(6, 2, Config(opt_type=opt_type), lengths=(2,)).train()
    observation, _, reward, next_observation, terminated, truncated, valid = bench.memory.added[1]
    assert observation.tolist() == [[0, 0, 1], [1, 0, 1]]
    assert next_observation.tolist() == [[0, 0, 2], [1, 0, 2]]
    assert reward.tolist() == [sign * 2, sign * 102]
    assert reward.dtype == np.float32
    assert (terminated.tolist(), truncated.tolist(), valid.tolist()) == ([True] * 2, [False] * 2, [True] * 2)
    assert bench.memory.added[2][0].tolist() == [[0, 1, 0], [1, 1, 0]]
    assert bench.state.recent_episodes[1].reward == 101 + 102  # in the user's own units
    assert len(bench.learner.observed) == 3
    assert bench.learner.observed[1].tolist() == observation.tolist()


def test_reset_steps_of_a_foreign_env_are_not_counted():
    env = ForeignVectorEnv([ScriptedEnv(0, [2]), ScriptedEnv(1, [50])], AutoresetMode.NEXT_STEP)
    bench = Bench(10, env=env).train()
    # 2 + 2, then 1 where the first environment resets, over and over.
    assert [int(added[-1].sum()) for added in bench.memory.added] == [2, 2, 1, 2, 2, 1]
    assert bench.t == 10
    assert bench.state.num_episodes == 2


def test_a_whole_step_may_be_a_reset():
    bench = Bench(10, env=ForeignVectorEnv([ScriptedEnv(0, [2])], AutoresetMode.NEXT_STEP)).train()
    assert [bool(added[-1]) for added in bench.memory.added] == [True, True, False] * 4 + [True, True]
    assert bench.t == 10


# -- learning rates ----------------------------------------------------------------------------------------------------


def test_rates_move_with_finished_epochs():
    config = Config(update_after=0, update_every=5, steps_per_epoch=10)
    bench = Bench(45, config=config).train()  # 5 epochs, the last one shorter
    assert [rates["lr_a"] for rates in bench.learner.rates] == pytest.approx(
        # The block at an epoch's last step still belongs to it.
        [1, 1, 0.75, 0.75, 0.5, 0.5, 0.25, 0.25, 0]
    )
    assert [rates["lr_c"] for rates in bench.learner.rates][-1] == 3.0
    assert [row["train/lr_a"] for _, row in bench.logger.rows] == pytest.approx([1, 0.75, 0.5, 0.25, 0])


def test_rates_move_with_finished_blocks():
    config = Config(update_after=12, update_every=10, lr_decay_ref="step")
    bench = Bench(45, 3, config).train()
    n = len(bench.learner.rates)
    assert n == 4
    assert [rates["lr_a"] for rates in bench.learner.rates] == pytest.approx([1 - k / (n - 1) for k in range(n)])


def test_several_blocks_in_a_step_have_rates_of_their_own():
    bench = Bench(12, 4, Config(update_after=0, update_every=1, lr_decay_ref="step")).train()
    assert len(bench.learner.rates) == 12
    assert [rates["lr_a"] for rates in bench.learner.rates] == pytest.approx([1 - k / 11 for k in range(12)])


@pytest.mark.parametrize("reference", ["epoch", "step"])
def test_a_run_of_one_epoch_or_block_stays_at_the_initial_rate(reference):
    config = Config(update_after=20, update_every=100, lr_decay_ref=reference)
    bench = Bench(30, config=config).train()
    assert [rates["lr_a"] for rates in bench.learner.rates] == [1.0]


def test_another_run_starts_the_schedule_over_with_epochs_of_its_own():
    bench = Bench(25, config=Config(update_after=0, update_every=5, steps_per_epoch=10)).train()
    bench.plan(20)
    bench.make_loop().train()
    assert bench.tests == [(1, 10), (2, 20), (3, 25), (1, 35), (2, 45)]
    assert [rates["lr_a"] for rates in bench.learner.rates] == pytest.approx([1, 1, 0.5, 0.5, 0, 1, 1, 0, 0])


# -- epochs and rows ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("total", "n_envs", "steps_per_epoch", "ends"),
    [
        (60, 1, 30, [30, 60]),
        (70, 1, 30, [30, 60, 70]),
        (20, 1, 30, [20]),
        (61, 4, 30, [32, 60, 64]),
        (10, 1, 1, list(range(1, 11))),
        (12, 5, 2, [5, 10, 15]),  # epochs shorter than a vector step end together
    ],
)
def test_ends_of_epochs(total, n_envs, steps_per_epoch, ends):
    config = Config(steps_per_epoch=steps_per_epoch)
    bench = Bench(total, n_envs, config).train()
    assert [t for _, t in bench.tests] == ends
    assert [step for step, _ in bench.logger.rows] == ends
    assert bench.state.run.finished_epochs == bench.state.run.epochs == -(-total // steps_per_epoch)


def test_what_a_row_says():
    bench = Bench(40, 2, Config(update_after=10, update_every=10, steps_per_epoch=20), lengths=(4,)).train()
    (_, first), (step, row) = bench.logger.rows
    assert step == 40
    means = {"rollout/ep_len_mean": 4.0, "rollout/ep_rew_mean": 50 * 4 + (0 + 10 + 20 + 30 + 40) / 5 * 4 + 10}
    counts = {"time/epoch": 2, "time/total_timesteps": 40, "time/episodes": 10, "train/n_updates": 12}
    metrics = {"train/loss": 1.5, "train/lr_a": 0.0, "train/lr_c": 3.0, "eval/mean_reward": 20.0}
    assert {key: value for key, value in row.items() if key not in ("time/fps", "time/time_elapsed")} == pytest.approx(
        {**means, **counts, **metrics}
    )
    assert row["time/fps"] == pytest.approx(40 / row["time/time_elapsed"])
    assert (first["train/n_updates"], first["time/epoch"], first["train/lr_a"]) == (6, 1, 1.0)


def test_rows_appear_also_without_a_finished_episode():
    bench = Bench(60, lengths=()).train()
    assert [step for step, _ in bench.logger.rows] == [30, 60]
    assert not any(key.startswith("rollout/") for _, row in bench.logger.rows for key in row)


@pytest.mark.parametrize(
    ("log_interval", "n_envs", "steps_per_epoch", "rows"),
    [(2, 1, 10, [20, 40, 50]), (3, 1, 10, [30, 50]), (9, 1, 10, [50]), (2, 3, 1, [3, 6, 9, 12])],
)
def test_log_interval(log_interval, n_envs, steps_per_epoch, rows):
    total = 50 if n_envs == 1 else 12
    bench = Bench(total, n_envs, Config(steps_per_epoch=steps_per_epoch), log_interval=log_interval).train()
    assert [step for step, _ in bench.logger.rows] == rows


def test_losses_that_are_not_finite_end_training_with_their_row():
    bench = Bench(60)
    bench.learner.metrics = {"critic_loss": np.nan, "actor_loss": 1.0}
    with pytest.raises(NonFiniteError, match=r"train/critic_loss not finite at step 30, after 6 gradient steps"):
        bench.train()
    assert [step for step, _ in bench.logger.rows] == [30]


def test_episodes_run_across_epoch_borders():
    bench = Bench(60, config=Config(steps_per_epoch=10), lengths=(25,)).train()
    assert [(episode.length, episode.reward) for episode in bench.state.recent_episodes] == [
        (25, sum(range(1, 26))),
        (25, sum(range(11, 36))),
    ]


# -- hooks -------------------------------------------------------------------------------------------------------------


def test_the_order_of_everything():
    config = Config(update_after=2, update_every=2, steps_per_epoch=3)
    bench = Bench(5, config=config, lengths=(2,)).train()
    assert bench.log == [
        ("on_training_start", 0),
        ("on_rollout_start", 0),
        ("on_step", 1),
        ("on_rollout_end", 2),
        ("update", 3),
        ("on_rollout_start", 2),
        ("on_episode_end", 2),
        ("on_step", 2),
        ("on_step", 3),
        ("test", 1),
        ("on_epoch_end", 3),
        ("on_rollout_end", 4),
        ("update", 3),
        ("on_rollout_start", 4),
        ("on_episode_end", 4),
        ("on_step", 4),
        ("on_step", 5),
        ("test", 2),
        ("on_epoch_end", 5),
        ("on_rollout_end", 5),
        ("on_training_end", 5),
    ]


def test_blocks_due_together_are_one_pause_of_the_rollout():
    bench = Bench(4, 4, Config(update_after=1, update_every=1)).train()
    assert [entry[0] for entry in bench.log] == [
        "on_training_start",
        "on_rollout_start",
        "on_rollout_end",
        *["update"] * 4,
        "on_rollout_start",
        "on_step",
        "test",
        "on_epoch_end",
        "on_rollout_end",
        "on_training_end",
    ]


def test_each_episode_is_told_with_its_own_numbers():
    told = []

    class Episodes(Callback):
        def on_episode_end(self):
            told.append(bench.state.last_episode)

    bench = Bench(8, 2, lengths=(3,), hooks=CallbackList([Episodes()]))
    bench.train()
    assert [(episode.env_index, episode.reward) for episode in told] == [(0, 6), (1, 306)]


@pytest.mark.parametrize(("stop_at", "t"), [(1, 3), (7, 9), (30, 30)])
def test_false_ends_training_after_the_vector_step(stop_at, t):
    bench = Bench(60, 3, stop_at=stop_at).train()
    assert bench.t == t
    assert bench.log[-2:] == [("on_rollout_end", t), ("on_training_end", t)]
    assert bench.tests == ([(1, 30)] if t == 30 else [])  # the step is carried out whole
    assert not bench.state.run.is_finished(t)
    assert bench.state.run.exact


@pytest.mark.parametrize("stop_at", [1, 17, 20, 30, 44])
@pytest.mark.parametrize("n_envs", [1, 3])
def test_going_on_after_a_stop_is_the_same_as_going_through(stop_at, n_envs):
    config = Config(update_after=7, update_every=4, steps_per_epoch=13, lr_decay_ref="step")
    through = Bench(60, n_envs, config).train()
    bench = Bench(60, n_envs, config, stop_at=stop_at).train()
    bench.state = TrainingState.from_state_dict(bench.state.state_dict())
    bench.learner.t = lambda: bench.state.num_timesteps
    bench.hooks.stop_at, bench.hooks.t = None, bench.learner.t
    bench.make_loop().train()
    assert bench.learner.updates == through.learner.updates
    assert bench.learner.rates == through.learner.rates
    assert bench.tests == through.tests
    # Each loop here makes its own generator, but no action is random.
    np.testing.assert_equal(bench.memory.added, through.memory.added)
    wall_clock = ("time/fps", "time/time_elapsed")
    for (step, row), (other_step, other) in zip(bench.logger.rows, through.logger.rows, strict=True):
        assert step == other_step
        assert {k: v for k, v in row.items() if k not in wall_clock} == {
            k: v for k, v in other.items() if k not in wall_clock
        }
    assert {**bench.state.state_dict(), "run": None} == {**through.state.state_dict(), "run": None}


def test_saves_are_carried_out_at_the_end_of_the_step():
    events = []

    class Saves(Callback):
        def on_training_start(self):
            self.ask("training_start")

        def on_step(self):
            self.ask("step")
            events.append("rest of the step")

        def on_training_end(self):
            self.ask("training_end")

        def ask(self, name):
            bench.loop.after_step.append(lambda: events.append((name, bench.t, len(bench.tests))))

    bench = Bench(2, hooks=Saves())
    bench.train()
    assert events == [
        ("training_start", 0, 0),
        "rest of the step",
        ("step", 1, 0),
        "rest of the step",
        ("step", 2, 1),
        ("training_end", 2, 1),
    ]


@pytest.mark.parametrize("hook", ["on_training_start", "on_step", "on_episode_end", "on_epoch_end", "on_rollout_end"])
def test_an_exception_in_a_callback_ends_training_properly(hook):
    def broken(self):
        raise OSError("mine")

    bench = Bench(60, env=make_vector_env(lambda: TimeLimit(ScriptedEnv(0), 5)), max_ep_len=8)
    bench.hooks = CallbackList([type("Broken", (Callback,), {hook: broken})(), Recorder(bench.log, lambda: bench.t)])
    with pytest.raises(OSError, match="mine"):
        bench.make_loop().train()
    assert bench.log[-1] == ("on_training_end", bench.t)
    assert bench.env.get_attr("_max_episode_steps") == (5,)
    assert bench.state.run.exact == (hook == "on_training_start")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_the_first_error_is_the_one_to_see():
    class Broken(Callback):
        def on_step(self):
            raise OSError("first")

        def on_training_end(self):
            raise OSError("second")

    with pytest.raises(OSError, match="first"):
        Bench(60, hooks=Broken()).train()


def test_max_ep_len_holds_for_the_run():
    env = make_vector_env(lambda: TimeLimit(ScriptedEnv(0), 5))
    bench = Bench(24, env=env, max_ep_len=8).train()
    assert [episode.length for episode in bench.state.recent_episodes] == [8, 8, 8]
    assert env.get_attr("_max_episode_steps") == (5,)


# -- Ctrl-C ------------------------------------------------------------------------------------------------------------


class CtrlC(Recorder):
    """Presses Ctrl-C at a step, so many times."""

    def __init__(self, log, t, at, times):
        super().__init__(log, t)
        self.at, self.times = at, times

    def on_step(self):
        super().on_step()
        if self.t() == self.at:
            for _ in range(self.times):
                signal.raise_signal(signal.SIGINT)
            self.log.append("went on")


@pytest.mark.parametrize("at", [7, 30])
def test_one_ctrl_c_ends_training_after_the_step(at):
    bench = Bench(60)
    bench.hooks = CtrlC(bench.log, lambda: bench.t, at, 1)
    bench.make_loop().train()
    assert bench.t == at
    assert "went on" in bench.log
    assert bench.tests == ([(1, 30)] if at == 30 else [])
    assert bench.log[-2:] == [("on_rollout_end", at), ("on_training_end", at)]
    assert bench.state.run.exact
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    bench.hooks.times = 0
    bench.make_loop().train()
    assert bench.t == 60


def test_two_ctrl_c_end_training_at_once():
    bench = Bench(60, env=make_vector_env(lambda: TimeLimit(ScriptedEnv(0), 5)), max_ep_len=8)
    bench.hooks = CtrlC(bench.log, lambda: bench.t, 30, 2)
    bench.make_loop().train()
    assert "went on" not in bench.log
    assert bench.tests == []
    assert bench.log[-1] == ("on_training_end", 30)
    assert not bench.state.run.exact
    assert bench.env.get_attr("_max_episode_steps") == (5,)


def test_the_second_ctrl_c_waits_for_the_memory():
    bench = Bench(60)
    add, finished = bench.memory.add, []

    def slow_add(*transition, valid):
        if bench.t == 5:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
        add(*transition, valid=valid)
        finished.append(bench.t)

    bench.memory.add = slow_add
    bench.train()
    assert finished == [0, 1, 2, 3, 4, 5]
    assert len(bench.memory.added) == bench.t == 6  # and the count goes with it
    assert ("on_step", 6) not in bench.log
    assert not bench.state.run.exact
    bench.memory.add = add
    bench.make_loop().train()
    assert len(bench.memory.added) == 60


def test_no_block_is_lost_to_ctrl_c():
    bench = Bench(60)
    add = bench.memory.add

    def interrupted_add(*transition, valid):
        if bench.t == 29:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
        add(*transition, valid=valid)

    bench.memory.add = interrupted_add
    bench.train()
    assert (bench.t, bench.learner.updates) == (30, [20])
    bench.make_loop().train()
    assert bench.learner.updates == [20, 31, 40, 50, 60]


def test_an_error_in_the_memory_comes_before_ctrl_c():
    bench = Bench(60)

    def broken_add(*transition, valid):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        raise MemoryError

    bench.memory.add = broken_add
    with pytest.raises(MemoryError):
        bench.train()


def test_a_program_with_its_own_handler_keeps_it():
    caught = []
    previous = signal.signal(signal.SIGINT, lambda number, frame: caught.append(number))
    try:
        bench = Bench(60)
        bench.hooks = CtrlC(bench.log, lambda: bench.t, 7, 2)
        bench.make_loop().train()
    finally:
        signal.signal(signal.SIGINT, previous)
    assert caught == [signal.SIGINT] * 2
    assert bench.t == 60


def test_training_runs_in_another_thread():
    bench = Bench(60)
    errors = []

    def run():
        try:
            bench.train()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert not errors
    assert bench.t == 60


# -- state -------------------------------------------------------------------------------------------------------------


def test_a_run_must_be_planned():
    bench = Bench()
    bench.state.run = None
    with pytest.raises(ValueError, match="planned"):
        bench.make_loop()


def test_the_collector_must_be_reset():
    bench = Bench()
    bench.collector.observation = None
    with pytest.raises(RuntimeError, match="reset"):
        bench.train()


def test_counters_start_anew():
    bench = Bench(60).train()
    bench.state.reset_counters()
    fresh = TrainingState(run=bench.state.run)
    assert bench.state == fresh


def test_only_the_last_hundred_episodes_are_averaged():
    bench = Bench(300, lengths=(2,)).train()
    assert bench.state.num_episodes == 150
    assert len(bench.state.recent_episodes) == 100
    assert bench.state.rollout_metrics()["rollout/ep_rew_mean"] == pytest.approx(
        np.mean([20 * episode + 3 for episode in range(50, 150)])
    )
