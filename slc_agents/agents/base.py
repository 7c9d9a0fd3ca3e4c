"""The agent: what the user holds. It composes parts that each do one thing, and names no backend."""

from __future__ import annotations

import inspect
import os
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, Self, TypeVar, cast

import gymnasium
import numpy as np
from gymnasium.vector import VectorEnv

from slc_agents.agents.backend import DEFAULT_BACKEND, EXPORT_FORMATS, Backend
from slc_agents.agents.config import FOREIGN_NAMES, AgentConfig
from slc_agents.agents.files import KnownSpaces, agent_archive, env_id, read_agent, start_from, versions, write_agent
from slc_agents.buffers import ReplayBuffer
from slc_agents.callbacks import Callback, CallbackLike, CallbackList, ProgressBarCallback
from slc_agents.callbacks.saving import AGENT_FILE, CONFIG_FILE, RunFolderCallback
from slc_agents.envs import EnvLike, check_episode_limit, have_one_in_common, make_test_env, make_vector_env
from slc_agents.errors import (
    ConfigError,
    EnvStateError,
    NonFiniteError,
    NotResumableError,
    UnsupportedSpaceError,
    check_flag,
    check_path,
    check_whole_number,
    reject_unknown_keywords,
)
from slc_agents.logger import Logger, make_logger
from slc_agents.schedulers import Schedule
from slc_agents.seeding import (
    Stream,
    draw_seed,
    make_generator,
    make_seed,
)
from slc_agents.spaces import (
    ActionScale,
    check_action_space,
    check_observation_space,
    row_not_finite,
    to_batch,
)
from slc_agents.training import loop
from slc_agents.training.collector import Collector
from slc_agents.training.evaluation import evaluate_policy, run_episodes
from slc_agents.training.state import Run, TrainingState
from slc_agents.transition import Array, Episode, Observation, Step, StoredArray

__all__ = ["Agent", "AgentLearner"]

ConfigT = TypeVar("ConfigT", bound=AgentConfig)


# Of each agent's docstring, between its own words and its hyperparameters.
ARGUMENTS = """\
Args:
    policy: `"MlpPolicy"`, `"CnnPolicy"` (images), `"MultiInputPolicy"` (Dicts with images), `"GSDEPolicy"`, or a policy
        class.
    env: An id, an environment, a factory, a list of factories, or a `gymnasium.vector.VectorEnv`.
    config: Hyperparameters; keywords replace single ones.
    eval_env: Environment of the test episodes; None: made like `env`.
    verbose: 1 prints each row of the log.
    **hyperparameters: See below, where each stands as `{config}` has it.

Raises:
    TypeError: If a keyword is unknown; the message names the nearest valid one.
    ConfigError: If a value is out of range.
    UnsupportedSpaceError: If the agent can't work with the environment's spaces.
"""


class AgentLearner(loop.Learner, Protocol):
    """What an agent needs of a backend: the loop's `Learner`, state, and export."""

    policy: Any
    device: Any
    export_formats: Mapping[str, str]  # name -> suffix

    def act(
        self, observation: Any, deterministic: bool = False, *, generator: np.random.Generator | None = None
    ) -> Any:
        """Returns actions in [-1, 1]; `generator` is where a sample's noise comes from."""

    def state_dict(self) -> dict[str, Array]:
        """Returns every tensor by its archive name."""

    def load_state_dict(self, state: Mapping[str, Array], *, take: Callable[[str], bool] = ...) -> None:
        """Puts tensors back; `take` says by its name whether one is taken."""

    def metrics_state(self) -> dict[str, Any]:
        """Returns what `read_metrics` has gathered since its last call, in JSON-able values."""

    def load_metrics_state(self, state: Mapping[str, Any]) -> None:
        """Takes back what `metrics_state` gave."""

    def exploration_state(self) -> dict[str, Any]:
        """Returns the noise that is kept over several steps of training, in arrays and JSON-able values."""

    def load_exploration_state(self, state: Mapping[str, Any]) -> None:
        """Takes back what `exploration_state` gave."""

    def check_export(self, format: str) -> None:
        """Raises a `MissingDependencyError` if a format needs a package that isn't installed."""

    def export(self, path: Path, format: str, about: Mapping[str, Any]) -> None:
        """Writes the deterministic policy to a file, and `about` into the JSON file beside it."""

    def read_foreign_weights(self, path: Path, opt_type: str) -> dict[str, Array] | None:
        """Returns tensors, by their archive names, of another library's file; None where the path means none."""

    def versions(self) -> dict[str, str]:
        """Returns the versions of what computes."""

    def describe(self, memory: ReplayBuffer | None = None) -> str:
        """Returns a line that says how gradient steps, with minibatches of a memory, are computed."""


class Agent(ABC, Generic[ConfigT]):
    """Base of all agents.

    A subclass names its config class and makes its learner; the rest is here.

    Attributes:
        config: The hyperparameters; `seed` is the one drawn, where none was given.
        policy: The networks.
        env: The vector environment, or None.
        schedulers: A schedule for each learning rate.
        callbacks: Those of the last `learn` or `resume`.
        logger: Where rows of metrics go.
        observation_space: That of a single environment.
        action_space: That of a single environment.
    """

    config_class: ClassVar[type[AgentConfig]]
    backend: ClassVar[Backend] = DEFAULT_BACKEND
    # Hyperparameters that are initial values of what is learned: replaced on loading, they start it afresh.
    initial_values: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    # Beginnings of the names of the tensors that `start_policy_parts` means.
    tensors_of_parts: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "networks": ("actor/", "critic/", "critic_target/", "normalizer/"),
        "temperature": ("alpha/",),
        "optimizers": ("optimizer/",),
    }
    # Beginnings of the names of target networks' tensors, and of those that they follow, as whose copies they start.
    target_networks: ClassVar[Mapping[str, str]] = {"critic_target/": "critic/"}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "config_class" in cls.__dict__ and "__init__" not in cls.__dict__:
            # help() and editors at run time see every keyword with its default, from the one place where it stands.
            own = [
                parameter
                for parameter in inspect.signature(Agent.__init__).parameters.values()
                if parameter.name != "self" and parameter.kind is not parameter.VAR_KEYWORD
            ]
            cls.__signature__ = inspect.Signature([*own, *cls.config_class.keywords()])  # type: ignore[attr-defined]
        if {"config_class", "backend"} & cls.__dict__.keys() and "__init__" not in cls.__dict__:
            arguments = ARGUMENTS.format(config=cls.config_class.__name__)
            cls.__doc__ = f"{inspect.getdoc(cls)}\n\n{arguments}\n{cls.config_class.describe()}"
        if "__init__" in cls.__dict__:
            own_init = inspect.signature(cls.__init__)  # a user's subclass, whose parent's signature would stand here
            without_self = list(own_init.parameters.values())[1:]
            cls.__signature__ = own_init.replace(parameters=without_self)  # type: ignore[attr-defined]

    def __init__(
        self,
        policy: str | type = "MlpPolicy",
        env: EnvLike | None = None,
        config: ConfigT | None = None,
        *,
        eval_env: EnvLike | None = None,
        verbose: int = 0,
        **hyperparameters: Any,
    ) -> None:
        reject_unknown_keywords(
            hyperparameters, inspect.signature(type(self)).parameters, type(self).__name__, FOREIGN_NAMES
        )
        if config is None:
            config = cast("ConfigT", self.config_class(**hyperparameters))
        elif isinstance(config, self.config_class):
            config = config.replace(**hyperparameters) if hyperparameters else config
        else:
            raise TypeError(
                f"config: received {config!r}; a {self.config_class.__name__} is needed. "
                f"Hyperparameters may also be keywords of {type(self).__name__}"
            )
        if config.seed is None:
            config = config.replace(seed=draw_seed())
        self.config: ConfigT = config
        self.policy_class = policy

        if env is None:
            raise TypeError(
                f"{type(self).__name__} needs an env, the argument after the policy: an id such as 'Pendulum-v1', "
                "an environment or a factory"
            )
        known: object = env
        vector_env = None if isinstance(known, KnownSpaces) else make_vector_env(env, config.n_envs)
        self.observation_space: gymnasium.Space[Any]
        self.action_space: gymnasium.Space[Any]
        if isinstance(known, KnownSpaces):  # from load(), which knows them without an environment
            self.observation_space, self.action_space = known.observation_space, known.action_space
        elif vector_env is not None:
            self.observation_space = vector_env.single_observation_space
            self.action_space = vector_env.single_action_space
        check_observation_space(self.observation_space)
        check_action_space(self.action_space)

        self._scale = ActionScale(cast("gymnasium.spaces.Box", self.action_space))
        streams: tuple[Stream, ...] = ("action", "predict", "learner", "buffer")
        self._generators = {stream: make_generator(self.seed, stream) for stream in streams}
        self._learner = self._make_learner()
        self.schedulers: dict[str, Schedule] = {rate: config.make_schedule(rate) for rate in config.rates}
        self.callbacks: Callback = CallbackList([])
        self.logger: Logger = make_logger(**{"verbose": verbose, **config.logger_kwargs})
        self._state = TrainingState()
        self._loop: loop.TrainingLoop | None = None
        self._memory: ReplayBuffer | None = None
        self._stored_memory: Mapping[str, StoredArray] | None = None  # that of the file, until it is needed
        self._saved_episodes: Mapping[str, Any] = {}  # those of the file, until training enters them
        self._loaded_callbacks: Mapping[str, Any] = {}
        self._owns_output = False  # whether what lies in the output folder is this agent's own
        self._eval_env: VectorEnv[Any, Any, Any] | None = None  # the user's
        if eval_env is not None:
            self._eval_env = make_vector_env(eval_env)
            self.check_spaces(self._eval_env, "eval_env")
            check_episode_limit(self._eval_env, config.max_ep_len)
        self.env: VectorEnv[Any, Any, Any] | None = None
        self._collector: Collector | None = None
        self._env_source: EnvLike | None = None
        self._env_id: str | None = None
        self._test_env: VectorEnv[Any, Any, Any] | None = None
        self._looked_for_test_env = False
        if vector_env is not None:
            self._take_env(vector_env, env)
        if config.start_policy is not None:
            start_from(self, config.start_policy, config.start_policy_parts)

    @abstractmethod
    def _make_learner(self) -> AgentLearner:
        """Makes the backend's learner from the config, the spaces and the random streams."""

    # -- training --------------------------------------------------------------------------------------------------

    def learn(
        self,
        total_timesteps: int | None = None,
        callback: CallbackLike | None = None,
        *,
        log_interval: int = 1,
        progress_bar: bool = False,
        reset_num_timesteps: bool = True,
    ) -> Self:
        """Trains the agent.

        Ctrl-C ends training at the end of the current step (twice: at once) and returns; the agent stays usable, and
        `resume` goes on.

        Args:
            total_timesteps: Environment steps, summed over parallel environments. None: `epochs * steps_per_epoch`.
            callback: A callback, a function f(model), or a list of these.
            log_interval: Epochs between two rows of the log.
            progress_bar: Whether to show one.
            reset_num_timesteps: Whether counters start at 0 and the environment is reset; what was learned and
                remembered is kept. False: that many steps more, in the episodes that are running. Learning-rate
                schedules start over in any case.

        Returns:
            The agent itself.

        Raises:
            ValueError: If there is no environment, or a number is out of range.
            TypeError: If the callback is none, or a switch is neither True nor False.
            NonFiniteError: If an observation, a reward, an action or a loss is NaN or infinite.
        """
        self._refuse_while_training("learn")
        total = self.config.epochs * self.config.steps_per_epoch if total_timesteps is None else total_timesteps
        total = check_whole_number("total_timesteps", total)
        log_interval = check_whole_number("log_interval", log_interval)
        reset_num_timesteps = check_flag("reset_num_timesteps", reset_num_timesteps)
        progress_bar = check_flag("progress_bar", progress_bar)
        collector = self._require_collector()
        callbacks = CallbackList([] if callback is None else [callback])
        state, config = self._state, self.config
        if reset_num_timesteps or (not collector.is_current and self._enter_saved_episodes(collector) is not None):
            self._reset_envs(collector)
        self._loaded_callbacks = {}  # those of a run that is given up here
        if reset_num_timesteps:
            state.reset_counters()
        start = state.num_timesteps
        last = start + -(-total // collector.n_envs) * collector.n_envs
        blocks = loop.blocks_until(last, config.update_after, config.update_every) - loop.blocks_until(
            start, config.update_after, config.update_every
        )
        state.run = Run(
            start=start,
            total=total,
            steps_per_epoch=config.steps_per_epoch,
            blocks=blocks,
            log_interval=log_interval,
        )
        return self._train(callbacks, progress_bar)

    def resume(self, callback: CallbackLike | None = None, *, progress_bar: bool = False) -> Self:
        """Continues a run that was interrupted, to the end that `learn` had planned for it.

        Args:
            callback: As in `learn`. Those of the interrupted run are not called again unless they are given again.
            progress_bar: Whether to show one.

        Returns:
            The agent itself.

        Raises:
            NotResumableError: If no run was interrupted.
        """
        self._refuse_while_training("resume")
        progress_bar = check_flag("progress_bar", progress_bar)
        run = self._state.run
        if run is None or not self.is_interrupted:
            raise NotResumableError(
                "there is no interrupted run to resume: the last one has reached its end, or none was started, or the "
                "agent was loaded from an archive that was saved without replay_buffer=True. Call learn(...)"
            )
        collector = self._require_collector()
        callbacks = CallbackList([] if callback is None else [callback])
        problem = None if collector.is_current else self._enter_saved_episodes(collector)
        if problem is not None:
            warnings.warn(
                f"the resumed run starts new episodes, since {problem}; it is not exactly the run that would have been "
                "without the interruption",
                stacklevel=2,
            )
            run.exact = False
            self._reset_envs(collector)
        elif not run.exact:
            warnings.warn(
                "this is not exactly the run that would have been without the interruption: it came in the middle of a "
                "step, or since then the seed was changed or new episodes were started",
                stacklevel=2,
            )
        if self._loaded_callbacks:
            callbacks.load_state_dict(self._loaded_callbacks)
            self._loaded_callbacks = {}
        return self._train(callbacks, progress_bar)

    def _train(self, callbacks: Callback, progress_bar: bool) -> Self:
        self.logger.prepare()
        self._refuse_foreign_output()
        self.logger.note(self._learner.describe(self.replay_buffer))
        everything: list[Callback] = [callbacks, *self._own_callbacks()]
        if self.logger.output_dir is not None:
            everything.append(
                RunFolderCallback(self.logger.output_dir, self.config.save_freq, export=self.config.export)
            )
        if progress_bar:
            everything.append(ProgressBarCallback())
        self.callbacks = callbacks
        hooks = CallbackList(everything)
        hooks.bind(self)
        self.logger.write_hyperparameters(self.config.to_dict())
        if self.config.num_test_episodes:
            self._find_test_env()
        self._loop = loop.TrainingLoop(
            config=self.config,
            state=self._state,
            collector=self._require_collector(),
            learner=self._learner,
            memory=self.replay_buffer,
            schedulers=self.schedulers,
            hooks=hooks,
            logger=self.logger,
            scale=self._scale,
            generator=self._generators["action"],
            test=self._test,
        )
        try:
            self._loop.train()
        finally:
            self._loop = None
        return self

    def _own_callbacks(self) -> list[Callback]:
        """Makes what an algorithm itself wants to be told of a run."""
        return []

    def _test(self, epoch: int) -> dict[str, float]:
        """Runs an epoch's test episodes; the same ones for the same seed and epoch."""
        test_env = self._eval_env or self._test_env
        if test_env is None or self.config.num_test_episodes == 0:
            return {}
        episodes = run_episodes(
            self,
            test_env,
            self.config.num_test_episodes,
            seed=make_seed(self.seed, "test", epoch),
            max_ep_len=self.config.max_ep_len,
        )
        returns = [episode.reward for episode in episodes]
        return {
            "eval/mean_reward": float(np.mean(returns)),
            "eval/std_reward": float(np.std(returns)),
            "eval/mean_ep_length": float(np.mean([episode.length for episode in episodes])),
        }

    def _find_test_env(self) -> None:
        if self._looked_for_test_env or self._eval_env is not None or self.env is None or self._env_source is None:
            return
        self._looked_for_test_env = True
        self._test_env = make_test_env(self._env_source, self.env)
        if self._test_env is None:
            warnings.warn(
                "there is no environment for test episodes: this one has no id, factory or spec, and can't be copied. "
                "Give one as eval_env=..., or set num_test_episodes=0",
                stacklevel=4,
            )

    def _require_collector(self) -> Collector:
        if self._collector is None:
            raise ValueError("the agent has no environment: give one to load(path, env=...) or set_env(env)")
        return self._collector

    def _enter_saved_episodes(self, collector: Collector) -> str | None:
        """Goes on with the episodes that the agent's file says were running; returns why that isn't possible."""
        if not self._saved_episodes:
            return "the environments' states are not known, or others have used them meanwhile"
        try:
            collector.load_state_dict(self._saved_episodes)
        except EnvStateError as error:
            pickled = self._saved_episodes.get("problem") and "pickled" not in self._saved_episodes
            return f"{error}{' (in the file they may be pickled: load it with trust=True)' if pickled else ''}"
        self._saved_episodes = {}
        return None

    def _episodes_state(self) -> Mapping[str, Any]:
        """Returns where the running episodes stand, also where training has not entered those of the file yet."""
        collector = self._collector
        return self._saved_episodes if collector is None or not collector.is_current else collector.state_dict()

    def _reset_envs(self, collector: Collector) -> None:
        # Each reset has a seed of its own, so that no agent, loaded ones included, sees its first episodes again.
        collector.reset(make_seed(self.seed, "env", self._state.env_resets))
        self._saved_episodes = {}
        self._state.env_resets += 1

    # -- acting ----------------------------------------------------------------------------------------------------

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[Array, Any]:
        """Chooses actions. Training is not disturbed by it.

        Args:
            observation: One observation of the environment, or a batch of them, with a leading dimension.
            state: Returned as it is; the policies have no memory.
            episode_start: Not needed; part of the interface that other libraries share.
            deterministic: Whether to take the policy's mean, not a sample.

        Returns:
            Actions in the environment's units, inside its bounds, in its dtype and shape, with a leading dimension
            where the observation had one; and `state`.

        Raises:
            ValueError: If the observation's shape or keys don't fit.
            NonFiniteError: If the observation, or what the networks make of it, is NaN or infinite.
        """
        deterministic = check_flag("deterministic", deterministic)
        batch, was_batch = to_batch(observation, self.observation_space)
        self._check_finite(batch, was_batch)
        action = self._learner.act(batch, deterministic, generator=self._generators["predict"])
        loop.check_action(action, "observation", self.num_timesteps)
        env_action = self._scale.to_env(action)
        return (env_action if was_batch else env_action[0]), state

    @staticmethod
    def _check_finite(observation: Observation, was_batch: bool) -> None:
        """Raises a `NonFiniteError` that names the row of a batch, and the key."""
        arrays = observation if isinstance(observation, dict) else {"": observation}
        for key, array in arrays.items():
            row = row_not_finite(array)
            if row is not None:
                which = f" {row} of the batch" if was_batch else ""
                raise NonFiniteError(
                    f"observation{which}{f', key {key!r}' if key else ''}: it is not finite (in float32, in which the "
                    f"agent computes): {array[row]!r}. Mend or clip it"
                )

    def evaluate(
        self,
        n_episodes: int = 10,
        env: EnvLike | None = None,
        *,
        deterministic: bool = True,
        seed: int | None = None,
    ) -> tuple[float, float]:
        """Runs episodes and returns the mean and standard deviation of their returns.

        Args:
            n_episodes: Number of episodes.
            env: Where; None: the agent's test environment.
            deterministic: Whether to take the policy's mean, not a sample.
            seed: Seed of the first reset.

        Raises:
            ValueError: If there is no environment to evaluate in, or a number is out of range.
        """
        n_episodes = check_whole_number("n_episodes", n_episodes)
        if seed is not None:
            seed = check_whole_number("seed", seed, 0)
        if env is None:
            self._find_test_env()
        where = (self._eval_env or self._test_env) if env is None else env
        if where is None:
            raise ValueError(
                "there is no environment to evaluate in: give one, evaluate(env=...), or eval_env=... before"
            )
        vector_env = make_vector_env(where)
        try:
            self.check_spaces(vector_env, "env")
            if self._loop is not None and self.env is not None and have_one_in_common(vector_env, self.env):
                raise ValueError("evaluate: this is the environment that is being trained on; give another one")
            return evaluate_policy(
                self, vector_env, n_episodes, deterministic, seed=seed, max_ep_len=self.config.max_ep_len
            )
        finally:
            if vector_env is not where:
                vector_env.close()

    def is_better(self, score: float, other: float) -> bool:
        """Whether a mean return (for costs, a mean cost) is better than another."""
        return score < other if self.config.opt_type == "minimize" else score > other

    # -- parts -----------------------------------------------------------------------------------------------------

    @property
    def policy(self) -> Any:
        """The networks."""
        return self._learner.policy

    @property
    def replay_buffer(self) -> ReplayBuffer:
        """What the agent remembers; made when it is first needed."""
        if self._memory is None:
            memory = self._make_memory(self.env.num_envs if self.env is not None else self.config.n_envs)
            if self._stored_memory is not None:
                memory.load_state_dict(self._stored_memory)
                self._stored_memory = None  # which closes the file
            self._memory = memory
        return self._memory

    def __getstate__(self) -> dict[str, Any]:
        """Reads what still lies in the file, which a copy can't hold open."""
        if self._stored_memory is not None:
            self.replay_buffer  # noqa: B018
        return self.__dict__

    def _make_memory(self, n_envs: int, memory_class: Callable[..., ReplayBuffer] = ReplayBuffer) -> ReplayBuffer:
        internal_actions = gymnasium.spaces.Box(-1.0, 1.0, (self._scale.size,), np.float32)
        return memory_class(
            self.config.replay_size,
            self.observation_space,
            internal_actions,
            n_envs,
            gamma=self.config.gamma,
            seed=self._generators["buffer"],
        )

    @property
    def seed(self) -> int:
        """The seed of all random streams."""
        if self.config.seed is None:
            raise RuntimeError("the seed is drawn at construction")
        return self.config.seed

    @property
    def device(self) -> Any:
        """Where the networks live."""
        return self._learner.device

    @property
    def num_timesteps(self) -> int:
        """Environment steps so far, summed over parallel environments."""
        return self._state.num_timesteps

    @property
    def num_episodes(self) -> int:
        """Finished episodes so far."""
        return self._state.num_episodes

    @property
    def n_updates(self) -> int:
        """Gradient steps so far."""
        return self._state.n_updates

    @property
    def run(self) -> Run | None:
        """The run that `learn` planned last, and how far it is."""
        return self._state.run

    @property
    def is_interrupted(self) -> bool:
        """Whether the last run was ended before its planned end, so that `resume` can go on."""
        return self.run is not None and not self.run.is_finished(self.num_timesteps)

    @property
    def last_episode(self) -> Episode | None:
        """The episode that finished last."""
        return self._state.last_episode

    @property
    def recent_episodes(self) -> tuple[Episode, ...]:
        """The last 100 episodes to have finished, as the log's means count them."""
        return tuple(self._state.recent_episodes)

    @property
    def last_step(self) -> Step | None:
        """What the environments' last step brought; None before the first since they were all reset."""
        return None if self._collector is None else self._collector.last_step

    @property
    def mean_recent_return(self) -> float | None:
        """Mean return of the last 100 episodes, as in the log."""
        return self._state.rollout_metrics().get("rollout/ep_rew_mean")

    @property
    def env_id(self) -> str | None:
        """The id of the environment that it was last given to train in; None: it has none, or there was none."""
        return self._env_id

    def get_env(self) -> VectorEnv[Any, Any, Any] | None:
        """Returns the vector environment, or None."""
        return self.env

    def set_env(self, env: EnvLike) -> None:
        """Gives the agent another environment with the same spaces; it starts new episodes there.

        Raises:
            UnsupportedSpaceError: If the spaces differ.
        """
        self._refuse_while_training("set_env")
        copies = isinstance(env, str) or (callable(env) and not isinstance(env, (gymnasium.Env, VectorEnv)))
        vector_env = make_vector_env(env, self.config.n_envs if copies else 1)
        self.check_spaces(vector_env, "env")
        self._take_env(vector_env, env)

    def _take_env(self, vector_env: VectorEnv[Any, Any, Any], source: EnvLike) -> None:
        """Trains in `vector_env` from now on; it was made of `source`. All is checked before anything changes."""
        n_envs = vector_env.num_envs
        if self.config.replay_size < n_envs:
            raise ConfigError(
                f"replay_size={self.config.replay_size}: each step brings {n_envs} transitions, one for each parallel "
                "environment; it must hold at least these"
            )
        if self._eval_env is not None and have_one_in_common(self._eval_env, vector_env):
            raise ValueError("eval_env: it is the environment that is trained on, whose episodes tests would break off")
        collector = Collector(vector_env, self.config.max_ep_len)
        if self._memory is not None and self._memory.n_envs != n_envs:
            memory = self._make_memory(n_envs)
            memory.load_state_dict(self._memory.state_dict())
            self._memory = memory
        self.env, self._env_source, self._collector = vector_env, source, collector
        self._env_id = source if isinstance(source, str) else env_id(vector_env)
        self.config = self.config.replace(n_envs=n_envs)
        if self._test_env is not None:  # which was made like the old one
            self._test_env.close()
        self._test_env, self._looked_for_test_env = None, False

    def check_spaces(self, env: VectorEnv[Any, Any, Any], name: str) -> None:
        """Raises an `UnsupportedSpaceError` unless an environment has the agent's spaces; `name` is what to call it."""
        for kind, own, other in (
            ("observation", self.observation_space, env.single_observation_space),
            ("action", self.action_space, env.single_action_space),
        ):
            if own != other:
                raise UnsupportedSpaceError(
                    f"{name}: its {kind} space is {other}; the agent's is {own}. They must be the same"
                )

    def _refuse_while_training(self, method: str) -> None:
        if self._loop is not None:
            raise RuntimeError(f"{method}: the agent is training; call it before or after, not from a callback")

    def _refuse_foreign_output(self) -> None:
        """Raises a `FileExistsError` where the output folder holds another agent's files."""
        folder = self.logger.output_dir
        if folder is None or self._owns_output:
            return
        for name in (AGENT_FILE, CONFIG_FILE):
            if (folder / name).exists():
                raise FileExistsError(
                    f"{folder / name} is another run's, which would be lost: choose another output_dir, or remove it"
                )
        self._owns_output = True

    # -- state -----------------------------------------------------------------------------------------------------

    def get_parameters(self) -> dict[str, Array]:
        """Returns copies of all that is learned, and of the optimisers' state, by tensor name; see the file format."""
        return self._learner.state_dict()

    def set_parameters(self, parameters: Mapping[str, Array]) -> None:
        """Puts back what `get_parameters` gave.

        Raises:
            TypeError: If it is no mapping.
            ValueError: If a tensor is missing, unknown or has another shape; nothing is changed then.
            NonFiniteError: If one that isn't an optimiser's holds NaN or infinity; nothing is changed then.
        """
        if not isinstance(parameters, Mapping):
            raise TypeError(
                f"parameters: received {parameters!r:.80}; a dictionary of arrays, as of get_parameters(), is needed"
            )
        # What computes elsewhere, or with gradients, says so by these methods.
        arrays = {
            name: np.asarray(array.detach().cpu() if hasattr(array, "detach") else array)
            for name, array in parameters.items()
        }
        for name, array in arrays.items():
            if array.dtype.kind == "f" and not np.isfinite(array).all() and not str(name).startswith("optimizer/"):
                raise NonFiniteError(
                    f"tensor {name!r} holds {np.count_nonzero(~np.isfinite(array))} values that are NaN or infinite, "
                    "as of an agent that has diverged. Nothing was changed"
                )
        self._learner.load_state_dict(arrays)

    def save(self, path: str | os.PathLike[str], *, replay_buffer: bool = False, progress_bar: bool = False) -> None:
        """Saves the agent into one file, from which loading runs no code.

        Called from a callback with `replay_buffer=True`, it is carried out at the end of the current step.

        Args:
            path: The file; `.zip` is appended where a suffix is missing, and folders are made.
            replay_buffer: Whether to save all that an interrupted run needs to go on exactly, in another process too:
                buffer, random streams, counters, the environments' states.
            progress_bar: Whether to show how far writing is.

        Raises:
            TypeError: If the path is none.
            OSError: If the file can't be written; an older one of that name is as it was.
        """
        path = check_path("path", path)
        replay_buffer = check_flag("replay_buffer", replay_buffer)
        progress_bar = check_flag("progress_bar", progress_bar)

        def write() -> None:
            write_agent(self, path, replay_buffer=replay_buffer, progress_bar=progress_bar)

        if replay_buffer and self._loop is not None:
            self._loop.after_step.append(write)
        else:
            write()

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        env: EnvLike | None = None,
        *,
        device: str | None = None,
        trust: bool = False,
        eval_env: EnvLike | None = None,
        verbose: int = 0,
        progress_bar: bool = False,
        **overrides: Any,
    ) -> Self:
        """Loads an agent that `save` wrote. Runs no code from the file unless `trust` is set.

        It computes on this class's backend, whichever wrote the file.

        Args:
            path: The file, whose `.zip` may be left out; a run's folder; or the name of an agent of the zoo,
                `zoo:sac/Pendulum-v1`.
            env: Where to train on; None: the agent can predict and be evaluated, and `set_env` gives it one later.
            device: Where to put the networks; None: where they were.
            trust: Whether code of the file's author may run, where the file has any (a policy class, a function as a
                rate). Only for files whose author you trust.
            eval_env: Environment of the test episodes; None: made like `env`.
            verbose: 1 prints each row of the log.
            progress_bar: Whether to show how far reading is, where the file holds a replay buffer.
            **overrides: Hyperparameters to replace. Saved without its run (`replay_buffer=False`), the agent doesn't
                write into its old output folder any more: give `logger_kwargs` for a new one.

        Raises:
            FileNotFoundError: If there is no such file.
            ArchiveError: If the file is damaged, foreign, too new, or doesn't fit, or the folder holds none.
            UntrustedCodeError: If the file needs code and `trust` is not set.
            TypeError: If an override is not a hyperparameter.
        """
        return read_agent(
            cls,
            agent_archive(path),
            env,
            device=device,
            trust=check_flag("trust", trust),
            eval_env=eval_env,
            verbose=verbose,
            progress_bar=check_flag("progress_bar", progress_bar),
            overrides=overrides,
        )

    def export(self, path: str | os.PathLike[str], format: str | None = None) -> None:
        """Exports the deterministic policy to a file that runs without this package.

        `forward(observation [B, *shape], float32) -> action [B, *shape], float32`, in the environment's units, inside
        its bounds, normalisation included; of a Dict observation, a dict of tensors (ONNX: one input a key, sorted).
        What was written is compared with the policy before it gets its name. `<path>.json` says inputs, outputs,
        bounds and versions.

        Args:
            path: The file; folders are made, and the format's suffix is appended where one is missing.
            format: `torchscript` (`.pt`), `onnx` (`.onnx`) or `torch_export` (`.pt2`); with TensorFlow `saved_model`
                (`.savedmodel`, a folder) or `tflite` (`.tflite`). None: by the file's suffix, the first of these where
                it has none.

        Raises:
            ValueError: If the format is unknown, or the suffix is another format's.
            ExportError: If the policy can't be exported, or the file doesn't compute what it does; nothing is written.
            MissingDependencyError: If the format needs a package that isn't installed.
        """
        target, name = self.check_export(path, format)
        about = {"agent": type(self).__name__, "env_id": self._env_id, "versions": versions(self)}
        self._learner.export(target, name, about)

    def check_export(self, path: str | os.PathLike[str], format: str | None = None) -> tuple[Path, str]:
        """Returns which file `export` would write, and in which format.

        Args:
            path: See `export`.
            format: See `export`.

        Raises:
            ValueError: If the format is unknown, or the suffix is another format's.
            MissingDependencyError: If the format needs a package that isn't installed.
        """
        suffixes, target = self._learner.export_formats, check_path("path", path)
        implied = {suffix: name for name, suffix in suffixes.items()}.get(target.suffix)
        chosen = format or implied or ("" if target.suffix else next(iter(suffixes)))
        if chosen not in suffixes or implied not in (None, chosen):
            raise ValueError(
                f"format={format!r}, path={os.fspath(path)!r}: allowed are "
                + ", ".join(f"{name} ({suffix})" for name, suffix in suffixes.items())
                + _whose_format(self.backend, format, target.suffix)
            )
        self._learner.check_export(chosen)
        return target if target.suffix else target.with_name(target.name + suffixes[chosen]), chosen


def _whose_format(own: Backend, format: str | None, suffix: str) -> str:
    """Says which other backend exports to a format, or to the one that a suffix means; nothing if none does."""
    for backend, formats in EXPORT_FORMATS.items():
        if backend != own and (format in formats or (format is None and suffix in formats.values())):
            return f". The {backend} agents export to it: save this one, and load(path, backend={backend!r})"
    return ""
