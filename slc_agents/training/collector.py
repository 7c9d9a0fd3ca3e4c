"""The collector: steps a vector environment and says truly what happened.

It hides how and when a vector environment resets its episodes, so that the transition that ended an episode has its
true last observation; it truncates episodes at `max_ep_len`; it counts returns and lengths; and it refuses NaN.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, VectorEnv
from numpy.typing import NDArray

from slc_agents.envs.episode_limit import check_episode_limit
from slc_agents.envs.state import get_env_state, pickle_envs, set_env_state, unpickle_envs
from slc_agents.envs.vector import autoreset_mode, await_answers, check_alive, cuts_by_mask, members, resets_by_mask
from slc_agents.errors import EnvStateError, InvalidEnvironmentError, NonFiniteError
from slc_agents.spaces import convert_observation, map_observation, row_not_finite, to_batch
from slc_agents.transition import Array, Episode, Observation, Step, Transition

__all__ = ["Collector"]

# Which collector has reset an environment last: one that another has used since is not where this one left it.
_LAST_COLLECTOR: dict[int, int] = {}
_TOKENS = itertools.count()


class Collector:
    """Collects transitions from `n` parallel environments.

    Args:
        env: A vector environment in any autoreset mode.
        max_ep_len: Length at which episodes are truncated; None leaves that to the environment.
        purpose: What it collects for, for error messages.

    Attributes:
        observation: What the environments show now, [n, *shape]; None before the first `reset`.
        last_step: What the last step brought; None before the first since `reset`.
        steps: How many transitions were made, for error messages; in training, the agent's step count.

    Raises:
        ValueError: If the environment's episodes can't be made to last `max_ep_len` steps, or it doesn't say how it
            resets.
    """

    def __init__(
        self, env: VectorEnv[Any, Any, Any], max_ep_len: int | None = None, *, purpose: str = "training"
    ) -> None:
        check_episode_limit(env, max_ep_len)
        self.env = env
        self.n_envs = env.num_envs
        self.max_ep_len = max_ep_len
        self.purpose = purpose
        self.observation: Observation | None = None
        self.last_step: Step | None = None
        self.steps = 0
        self._space = env.single_observation_space
        self._mode = autoreset_mode(env)
        self._by_mask = resets_by_mask(env)
        self._cuts_by_mask = cuts_by_mask(env)
        if self._mode is AutoresetMode.DISABLED and not self._by_mask:
            raise ValueError(
                f"env: {env} leaves resets to its user (AutoresetMode.DISABLED), but isn't known to reset single "
                "environments. Use gymnasium.vector.SyncVectorEnv or AsyncVectorEnv, or let it reset by itself"
            )
        self._token = next(_TOKENS)
        self._members = members(env)
        self._returns = np.zeros(self.n_envs, np.float64)
        self._lengths = np.zeros(self.n_envs, np.int64)
        self._resets_next = np.zeros(self.n_envs, bool)  # whose next step will be a reset of the environment's own

    @property
    def is_current(self) -> bool:
        """Whether the environments are where this collector left them, as far as other collectors are concerned."""
        return self.observation is not None and all(
            _LAST_COLLECTOR.get(member) == self._token for member in self._members
        )

    def reset(self, seed: int | None = None) -> None:
        """Starts new episodes everywhere."""
        check_alive(self.env)
        observation = self._call("reset", lambda: self.env.reset(seed=seed)[0])
        _LAST_COLLECTOR.update(dict.fromkeys(self._members, self._token))
        self.observation = self._checked(observation, "reset()")
        self.last_step = None
        self._returns[:] = 0.0
        self._lengths[:] = 0
        self._resets_next[:] = False

    def state_dict(self) -> dict[str, Any]:
        """Returns where the episodes stand, in arrays and JSON-able values: counters, observation, environments.

        Where the environments' state can't be known, `problem` says why, and `pickled` holds them as far as that works.
        Without episodes that this collector could go on with, it is empty.
        """
        if not self.is_current:
            return {}
        state = {
            "observation": self.observation,
            "returns": self._returns.copy(),
            "lengths": self._lengths.copy(),
            "resets_next": self._resets_next.copy(),
            "steps": self.steps,
        }
        try:
            if self._resets_next.any() and isinstance(self.env.unwrapped, AsyncVectorEnv):
                raise EnvStateError("a worker is about to reset its environment, which only it knows")
            return {**state, "envs": get_env_state(self.env)}
        except EnvStateError as error:
            return {**state, "problem": str(error), "pickled": pickle_envs(self.env)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on with the episodes that another collector's `state_dict` described.

        Raises:
            EnvStateError: If that is not possible; `reset` then starts new ones.
        """
        if not state:
            raise EnvStateError("the file says nothing of running episodes")
        self.reset(seed=0)  # a new environment refuses steps, and lacks much of its state, before its first reset
        self.observation = None
        if "envs" in state:
            set_env_state(self.env, state["envs"])
        elif state.get("pickled"):
            unpickle_envs(self.env, state["pickled"])
            _LAST_COLLECTOR.update(dict.fromkeys(members(self.env), self._token))
            self._members = members(self.env)
        else:
            raise EnvStateError(str(state.get("problem")))
        try:
            self._returns[:], self._lengths[:] = state["returns"], state["lengths"]
            self._resets_next[:] = state["resets_next"]
            self.steps = int(state["steps"])
            observation, is_batch = to_batch(state["observation"], self._space)
            first = next(iter(observation.values())) if isinstance(observation, dict) else observation
            if not is_batch or len(first) != self.n_envs:
                raise ValueError(f"the observation isn't of {self.n_envs} environments")
            self.observation = observation
        except (KeyError, TypeError, ValueError) as error:
            raise EnvStateError(f"what the file says of the running episodes is garbled: {error}") from error

    def step(self, action: Array) -> tuple[Transition, list[Episode]]:
        """Moves every environment once.

        Args:
            action: In the environment's units, [n, *shape].

        Returns:
            The transition, and the episodes that it ended.

        Raises:
            NonFiniteError: If an observation or reward is NaN or infinite.
            ValueError: If the environment truncates by itself before `max_ep_len`.
        """
        observation = self.observation
        if observation is None:
            raise RuntimeError("reset() comes before the first step()")
        if not self.is_current:
            raise RuntimeError(
                "others have reset the environment in the middle of its episodes: evaluate in another environment"
            )
        # Until this step has succeeded the environment is in no state to go on from.
        self.observation = None
        raw_observation, raw_reward, terminated, truncated, info = self._call("step", lambda: self.env.step(action))
        valid = ~self._resets_next
        reward = self._checked_reward(raw_reward, valid)
        next_observation = self._checked(raw_observation, "step()")
        terminated, truncated = np.array(terminated, bool), np.array(truncated, bool)
        ended = by_itself = (terminated | truncated) & valid

        self._returns += reward
        self._lengths += valid
        if self.max_ep_len is not None:
            self._check_truncated(truncated & ~terminated & valid)
            truncated = truncated | ((self._lengths >= self.max_ep_len) & ~terminated & valid)
            ended = (terminated | truncated) & valid
        self._resets_next[:] = False

        episodes = [Episode(float(self._returns[i]), int(self._lengths[i]), i) for i in ended.nonzero()[0].tolist()]
        self.observation = next_observation
        if episodes:
            self.observation, next_observation = self._reset_ended(ended, by_itself, next_observation, info)
            self._returns[ended] = 0.0
            self._lengths[ended] = 0
        self.steps += int(np.count_nonzero(valid))
        # The reward is stored as float32, so it is counted in float64 and only then rounded.
        transition = Transition(
            observation, action, reward.astype(np.float32), next_observation, terminated, truncated, valid
        )
        self.last_step = Step(transition, episodes, self.observation, info)
        return transition, episodes

    def _reset_ended(
        self,
        ended: NDArray[np.bool_],
        by_itself: NDArray[np.bool_],
        next_observation: Observation,
        info: dict[str, Any],
    ) -> tuple[Observation, Observation]:
        """Gets ended episodes reset. Returns the observations to act on, and the true next ones of the transition."""
        current = next_observation
        mask = ended & ~by_itself  # of those that we cut the environment knows nothing: it won't reset them
        if self._mode is AutoresetMode.SAME_STEP:
            if by_itself.any():  # what it shows there is the new episode already
                next_observation = self._with_final(next_observation, by_itself, info)
        elif self._by_mask:
            mask = ended
        else:  # it will reset at its next step, in which it ignores the action and makes no transition
            self._resets_next[by_itself] = True
        if mask.any():
            if not self._cuts_by_mask:
                raise ValueError(
                    f"max_ep_len={self.max_ep_len}: {self.env} didn't truncate an episode there, as its spec promises, "
                    "and can't reset single environments. Leave max_ep_len out"
                )
            current = self._reset_by_mask(mask)
        return current, next_observation

    def _reset_by_mask(self, mask: NDArray[np.bool_]) -> Observation:
        # A fresh dict each time: gymnasium takes the mask out of it. The whole of one needs no mask.
        options = None if self.n_envs == 1 else {"reset_mask": mask.copy()}
        observation = self._call("reset", lambda: self.env.reset(options=options)[0])
        return self._checked(observation, "reset()")

    def _with_final(self, observation: Observation, by_itself: NDArray[np.bool_], info: dict[str, Any]) -> Observation:
        """Puts the last observations of episodes that the environment has already reset in their places."""
        if "final_obs" not in info:
            raise ValueError(
                f"env: {self.env} resets in the step that ends an episode (AutoresetMode.SAME_STEP), but its info "
                "has no 'final_obs', so the episode's last observation is lost. Provide it, or use another mode"
            )
        final = map_observation(np.copy, observation)
        for i in by_itself.nonzero()[0].tolist():
            last = convert_observation(info["final_obs"][i], self._space)
            if isinstance(final, dict) and isinstance(last, dict):
                for key, value in last.items():
                    final[key][i] = value
            elif not isinstance(final, dict):
                final[i] = last
        self._check_finite(final, "step(), info['final_obs']")
        return final

    def _call(self, method: str, call: Any) -> Any:
        try:
            return call()
        except Exception as error:
            again = (
                "its worker process has ended: set_env() gives the agent another environment"
                if isinstance(self.env.unwrapped, AsyncVectorEnv)
                else "learn() or resume() starts new episodes"
            )
            error.add_note(
                f"Raised by the environment in {method}(), after {self.steps} steps of {self.purpose}. The "
                f"agent keeps all that it has learned: it can be saved, and {again}."
            )
            if isinstance(error, InvalidEnvironmentError) or _raised_by_gymnasium(error):
                error.add_note("slc_agents.envs.check_env(env) says which rules a single environment breaks.")
            raise
        except KeyboardInterrupt:
            await_answers(self.env)
            raise

    def _checked(self, observation: Any, where: str) -> Observation:
        converted = convert_observation(observation, self._space)
        self._check_finite(converted, where)
        return converted

    def _check_finite(self, observation: Observation, where: str) -> None:
        arrays = observation if isinstance(observation, dict) else {"": observation}
        for key, array in arrays.items():
            i = row_not_finite(array)
            if i is None:
                continue
            name = f"observation {key!r}" if key else "observation"
            raise NonFiniteError(
                f"the {name} from {where} of environment {i} is not finite after {self.steps} steps of {self.purpose}: "
                f"{array[i]!r} "
                "(in float32, in which the agent computes). Mend or clip it in the environment; the agent keeps all "
                "that it has learned"
            )

    def _checked_reward(self, raw: Any, valid: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Returns the rewards, 0 where there is no transition."""
        reward = np.where(valid, np.asarray(raw, np.float64).reshape(self.n_envs), 0.0)
        i = row_not_finite(reward)
        if i is not None:
            raise NonFiniteError(
                f"the reward from step() of environment {i} is not finite after {self.steps} steps of {self.purpose}: "
                f"{reward[i]} "
                "(in float32, in which the agent computes). Mend or clip it in the environment; the agent keeps all "
                "that it has learned"
            )
        return reward

    def _check_truncated(self, truncated: NDArray[np.bool_]) -> None:
        early = truncated & (self._lengths < (self.max_ep_len or 0))
        if early.any():
            length = int(self._lengths[early][0])
            raise ValueError(
                f"max_ep_len={self.max_ep_len}: environment {int(early.nonzero()[0][0])} truncated an episode by "
                f"itself after {length} steps, and has no TimeLimit wrapper to raise. Raise the limit in the "
                f"environment, set max_ep_len to at most {length}, or leave it out"
            )


def _raised_by_gymnasium(error: Exception) -> bool:
    """Whether an error comes from the code of gymnasium's vector environments, which stumbled on what it was given."""
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    return traceback is not None and str(traceback.tb_frame.f_globals.get("__name__")).startswith("gymnasium.vector.")
