"""What the learners of all backends share: numpy and words, no tensors of any backend.

- `exploration`: the noise that training's actions are sampled with;
- `policy_kwargs`: the keywords of a policy, their defaults and their checks;
- `state`: the names that tensors have in an archive, and whether a state fits;
- `export`: the files of an exported policy, and their comparison with the policy.
"""
