"""Muon for convolutions: Keras has it for matrices; here a kernel is the matrix of its flattened patches."""

import keras
from keras import ops


class Muon(keras.optimizers.Muon):
    """Steps of equal size in every direction for kernels of convolutions; Adam for all else.

    A kernel (height, width, in, out) is taken as (height × width × in, out), as in Jordan et al., "Muon: An optimizer
    for hidden layers in neural networks" (2024). Behind each convolution stands a batch normalisation, so a kernel's
    length does not matter: it is kept at √out, and `learning_rate` says how far a step turns it. Adam's rate is
    `adam_lr_ratio` of it.
    """

    def __init__(self, learning_rate: float, adam_lr_ratio: float = 0.06, **options: object) -> None:
        defaults = {"momentum": 0.9, "ns_steps": 4, "rms_rate": None, "weight_decay": None, "adam_weight_decay": None}
        super().__init__(learning_rate, adam_lr_ratio=adam_lr_ratio, adam_beta_2=0.99, **{**defaults, **options})

    def _should_use_adamw(self, variable: keras.Variable) -> bool:
        return len(variable.shape) != 4

    def _muon_update_step(
        self, gradient: keras.KerasTensor, variable: keras.Variable, lr: keras.KerasTensor, m: keras.Variable
    ) -> None:
        self.assign(m, self.momentum * m + (1 - self.momentum) * gradient)
        ahead = self.momentum * m + (1 - self.momentum) * gradient
        flat = ops.reshape(ahead, (-1, variable.shape[-1]))
        turn = ops.reshape(self.zeropower_via_newtonschulz5(flat, self.ns_steps), variable.shape)
        length = variable.shape[-1] ** 0.5
        unit = variable * (length / ops.sqrt(ops.sum(ops.square(variable))))
        self.assign(variable, unit - lr * turn)
