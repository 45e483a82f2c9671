"""The networks of `unseen_curves.py`. None was in use when the rules were made."""

import jax
import jax.numpy as jnp
import optax
import optax.contrib

from mnist_tune import Network


def _dense(key, inputs, outputs, gain=1.0):
    return gain * jax.random.normal(key, (inputs, outputs)) / inputs**0.5, jnp.zeros(outputs)


def residual(data, width=48, blocks=3):
    """Return residual blocks with layer normalisation and GELU."""

    def init(key):
        first, last, *rest = jax.random.split(key, 2 + 2 * blocks)
        pairs = [(_dense(rest[2 * i], width, width), _dense(rest[2 * i + 1], width, width)) for i in range(blocks)]
        return {"in": _dense(first, data.size, width), "blocks": pairs, "out": _dense(last, width, data.classes)}

    def apply(params, images):
        x = images.reshape(len(images), -1) @ params["in"][0] + params["in"][1]
        for (up, a), (down, b) in params["blocks"]:
            normed = (x - x.mean(-1, keepdims=True)) / (x.std(-1, keepdims=True) + 1e-5)
            x = x + jax.nn.gelu(normed @ up + a) @ down + b
        return x @ params["out"][0] + params["out"][1]

    return Network(init, apply)


def deep_sigmoid(data, width=32, layers=4):
    """Return a deep network of sigmoids, which stays at chance for a while."""

    def init(key):
        sizes = [data.size, *[width] * layers, data.classes]
        return [
            _dense(k, a, b, 4.0)
            for k, a, b in zip(jax.random.split(key, layers + 1), sizes[:-1], sizes[1:], strict=True)
        ]

    def apply(params, images):
        x = images.reshape(len(images), -1)
        for weight, bias in params[:-1]:
            x = jax.nn.sigmoid(x @ weight + bias) - 0.5
        return x @ params[-1][0] + params[-1][1]

    return Network(init, apply)


def linear(data):
    """Return softmax regression."""

    def init(key):
        return _dense(key, data.size, data.classes, 0.1)

    def apply(params, images):
        return images.reshape(len(images), -1) @ params[0] + params[1]

    return Network(init, apply)


def convnet(data, filters=6):
    """Return two convolutions with ReLU, and the mean over the image."""

    def init(key):
        a, b, c = jax.random.split(key, 3)
        channels = data.shape[2] if len(data.shape) == 3 else 1
        first = jax.random.normal(a, (3, 3, channels, filters)) * (2 / 9 / channels) ** 0.5
        second = jax.random.normal(b, (3, 3, filters, 2 * filters)) * (2 / 9 / filters) ** 0.5
        return first, second, _dense(c, 2 * filters, data.classes)

    def apply(params, images):
        x = images if images.ndim == 4 else images[..., None]
        for kernel in params[:2]:
            x = jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
            x = jax.nn.relu(x)
        return x.mean((1, 2)) @ params[2][0] + params[2][1]

    return Network(init, apply)


def attention(data, width=16):
    """Return one head of self-attention over the rows of an image, and the mean over them."""

    def init(key):
        keys = jax.random.split(key, 5)
        columns = data.size // data.shape[0]
        return {
            "in": _dense(keys[0], columns, width),
            "qkv": [_dense(k, width, width)[0] for k in keys[1:4]],
            "place": jnp.zeros((data.shape[0], width)),
            "out": _dense(keys[4], width, data.classes),
        }

    def apply(params, images):
        x = images.reshape(len(images), images.shape[1], -1) @ params["in"][0] + params["in"][1] + params["place"]
        query, key, value = (x @ weight for weight in params["qkv"])
        shares = jax.nn.softmax(query @ key.swapaxes(1, 2) / width**0.5)
        return (x + shares @ value).mean(1) @ params["out"][0] + params["out"][1]

    return Network(init, apply)


def recurrent(data, width=32):
    """Return a recurrent network that reads an image row by row."""

    def init(key):
        a, b, c = jax.random.split(key, 3)
        columns = data.size // data.shape[0]
        return _dense(a, columns, width), _dense(b, width, width, 0.9)[0], _dense(c, width, data.classes)

    def apply(params, images):
        (weight, bias), back, (out, out_bias) = params
        rows = images.reshape(len(images), images.shape[1], -1).swapaxes(0, 1)
        state = jnp.zeros((len(images), back.shape[0]))
        state, _ = jax.lax.scan(lambda h, x: (jnp.tanh(x @ weight + bias + h @ back), None), state, rows)
        return state @ out + out_bias

    return Network(init, apply)


def large_start(data, width=64, gain=3.0):
    """Return two ReLU layers whose initial weights are too large."""

    def init(key):
        sizes = [data.size, width, width, data.classes]
        keys = jax.random.split(key, 3)
        return [_dense(k, a, b, gain) for k, a, b in zip(keys, sizes[:-1], sizes[1:], strict=True)]

    def apply(params, images):
        x = images.reshape(len(images), -1)
        for weight, bias in params[:-1]:
            x = jax.nn.relu(x @ weight + bias)
        return x @ params[-1][0] + params[-1][1]

    return Network(init, apply)


def normed(data, width=64, rate=0.2):
    """Return a network with batch normalisation and dropout."""

    def init(key):
        first, second = jax.random.split(key)
        params = {
            "in": _dense(first, data.size, width),
            "scale": jnp.ones(width),
            "out": _dense(second, width, data.classes),
        }
        return params, {"mean": jnp.zeros(width), "var": jnp.ones(width)}

    def forward(params, images, mean, var):
        x = images.reshape(len(images), -1) @ params["in"][0]
        return jax.nn.relu(params["scale"] * (x - mean) / jnp.sqrt(var + 1e-5) + params["in"][1])

    def apply(params, state, images):
        return forward(params, images, state["mean"], state["var"]) @ params["out"][0] + params["out"][1]

    def train_apply(params, state, images, key):
        x = images.reshape(len(images), -1) @ params["in"][0]
        mean, var = x.mean(0), x.var(0)
        x = forward(params, images, mean, var)
        x = jnp.where(jax.random.bernoulli(key, 1 - rate, x.shape), x / (1 - rate), 0.0)
        state = {"mean": 0.9 * state["mean"] + 0.1 * mean, "var": 0.9 * state["var"] + 0.1 * var}
        return x @ params["out"][0] + params["out"][1], state

    return Network(init, apply, train_apply)


def gated(data, width=32):
    """Return two gated linear units."""

    def init(key):
        a, b, c, d, e = jax.random.split(key, 5)
        first, second = (
            (_dense(a, data.size, width), _dense(b, data.size, width)),
            (_dense(c, width, width), _dense(d, width, width)),
        )
        return first, second, _dense(e, width, data.classes)

    def apply(params, images):
        x = images.reshape(len(images), -1)
        for (weight, bias), (gate, gate_bias) in params[:2]:
            x = (x @ weight + bias) * jax.nn.sigmoid(x @ gate + gate_bias)
        return x @ params[2][0] + params[2][1]

    return Network(init, apply)


def radial(data, centres=40):
    """Return a softmax over Gaussian bumps with trained centres and widths."""

    def init(key):
        a, b = jax.random.split(key)
        middle = 0.5 * jax.random.normal(a, (centres, data.size))
        return {"centres": middle, "log_width": jnp.zeros(centres), "out": _dense(b, centres, data.classes)}

    def apply(params, images):
        x = images.reshape(len(images), -1)
        distance = ((x[:, None] - params["centres"]) ** 2).mean(-1)
        bumps = jnp.exp(-distance * jnp.exp(params["log_width"]))
        return bumps @ params["out"][0] + params["out"][1]

    return Network(init, apply)


def deep_linear(data, width=40, layers=5):
    """Return a product of matrices, without any nonlinearity."""

    def init(key):
        sizes = [data.size, *[width] * layers, data.classes]
        keys = jax.random.split(key, layers + 1)
        return [_dense(k, a, b, 0.7)[0] for k, a, b in zip(keys, sizes[:-1], sizes[1:], strict=True)]

    def apply(params, images):
        x = images.reshape(len(images), -1)
        for weight in params:
            x = x @ weight
        return x

    return Network(init, apply)


def mixer(data, width=24):
    """Return one block that mixes rows, then columns."""

    def init(key):
        a, b, c = jax.random.split(key, 3)
        rows, columns = data.shape[0], data.size // data.shape[0]
        return _dense(a, rows, rows), _dense(b, columns, width), _dense(c, rows * width, data.classes)

    def apply(params, images):
        (mix, mix_bias), (weight, bias), (out, out_bias) = params
        x = images.reshape(len(images), images.shape[1], -1)
        x = x + jax.nn.gelu(x.swapaxes(1, 2) @ mix + mix_bias).swapaxes(1, 2)
        x = jax.nn.gelu(x @ weight + bias)
        return x.reshape(len(x), -1) @ out + out_bias

    return Network(init, apply)


def sines(data, width=40, frequency=3.0):
    """Return two layers of sines, whose initial weights follow their frequency."""

    def init(key):
        sizes = [data.size, width, width, data.classes]
        keys = jax.random.split(key, 3)
        return [_dense(k, a, b) for k, a, b in zip(keys, sizes[:-1], sizes[1:], strict=True)]

    def apply(params, images):
        x = images.reshape(len(images), -1)
        for weight, bias in params[:-1]:
            x = jnp.sin(frequency * (x @ weight) + bias)
        return x @ params[-1][0] + params[-1][1]

    return Network(init, apply)


def maxout(data, width=20, pieces=3):
    """Return one layer of maxima over linear pieces."""

    def init(key):
        first, second = jax.random.split(key)
        return _dense(first, data.size, width * pieces), _dense(second, width, data.classes)

    def apply(params, images):
        (weight, bias), (out, out_bias) = params
        x = (images.reshape(len(images), -1) @ weight + bias).reshape(len(images), width, pieces)
        return x.max(-1) @ out + out_bias

    return Network(init, apply)


def cosine_classifier(data, width=32, scale=10.0):
    """Return a ReLU layer, and the cosines between its output and a direction for each class."""

    def init(key):
        first, second = jax.random.split(key)
        return _dense(first, data.size, width, 1.4), _dense(second, width, data.classes)[0]

    def apply(params, images):
        (weight, bias), directions = params
        x = jax.nn.relu(images.reshape(len(images), -1) @ weight + bias)
        x = x / jnp.sqrt((x**2).sum(-1, keepdims=True) + 1e-6)
        return scale * x @ (directions / jnp.sqrt((directions**2).sum(0, keepdims=True) + 1e-6))

    return Network(init, apply)


def quadratic(data, width=24):
    """Return the squares of a linear layer, and a linear layer of them and of the images."""

    def init(key):
        a, b, c = jax.random.split(key, 3)
        return _dense(a, data.size, width, 0.5), _dense(b, width, data.classes), _dense(c, data.size, data.classes)[0]

    def apply(params, images):
        (weight, bias), (out, out_bias), straight = params
        x = images.reshape(len(images), -1)
        return (x @ weight + bias) ** 2 @ out + x @ straight + out_bias

    return Network(init, apply)


def highway(data, width=28, layers=4):
    """Return layers that a gate mixes with their input."""

    def init(key):
        first, last, *rest = jax.random.split(key, 2 + 2 * layers)
        pairs = [(_dense(rest[2 * i], width, width), _dense(rest[2 * i + 1], width, width)) for i in range(layers)]
        return _dense(first, data.size, width), pairs, _dense(last, width, data.classes)

    def apply(params, images):
        (weight, bias), pairs, (out, out_bias) = params
        x = images.reshape(len(images), -1) @ weight + bias
        for (up, a), (gate, b) in pairs:
            share = jax.nn.sigmoid(x @ gate + b - 1)
            x = share * jax.nn.tanh(x @ up + a) + (1 - share) * x
        return x @ out + out_bias

    return Network(init, apply)


def fourier(data, features=64, scale=1.0):
    """Return a linear layer on the sines and cosines of random directions, which are not trained."""

    def init(key):
        return _dense(key, 2 * features, data.classes, 0.5)

    def apply(params, images):
        directions = scale * jax.random.normal(jax.random.key(7), (data.size, features))
        x = images.reshape(len(images), -1) @ directions
        return jnp.concatenate([jnp.sin(x), jnp.cos(x)], -1) @ params[0] + params[1]

    return Network(init, apply)


def patches(data, width=12):
    """Return a layer of its own for each row, without shared weights, and a ReLU layer."""

    def init(key):
        a, b, c = jax.random.split(key, 3)
        rows, columns = data.shape[0], data.size // data.shape[0]
        rowwise = 1.4 * jax.random.normal(a, (rows, columns, width)) / columns**0.5
        return rowwise, _dense(b, rows * width, width, 1.4), _dense(c, width, data.classes)

    def apply(params, images):
        rowwise, (weight, bias), (out, out_bias) = params
        x = jnp.einsum("nrc,rcw->nrw", images.reshape(len(images), images.shape[1], -1), rowwise)
        x = jax.nn.relu(jax.nn.relu(x).reshape(len(x), -1) @ weight + bias)
        return x @ out + out_bias

    return Network(init, apply)


def bottleneck(data, width=3):
    """Return a network through very few units."""

    def init(key):
        keys = jax.random.split(key, 3)
        sizes = [data.size, 40, width, data.classes]
        return [_dense(k, a, b, 1.2) for k, a, b in zip(keys, sizes[:-1], sizes[1:], strict=True)]

    def apply(params, images):
        x = images.reshape(len(images), -1)
        for weight, bias in params[:-1]:
            x = jax.nn.elu(x @ weight + bias)
        return x @ params[-1][0] + params[-1][1]

    return Network(init, apply)


def dense_connected(data, growth=12, layers=4):
    """Return layers that each see the image and all layers before them."""

    def init(key):
        keys = jax.random.split(key, layers + 1)
        hidden = [_dense(k, data.size + i * growth, growth, 1.4) for i, k in enumerate(keys[:-1])]
        return hidden, _dense(keys[-1], data.size + layers * growth, data.classes)

    def apply(params, images):
        x = images.reshape(len(images), -1)
        for weight, bias in params[0]:
            x = jnp.concatenate([x, jax.nn.softplus(x @ weight + bias) - 0.7], -1)
        return x @ params[1][0] + params[1][1]

    return Network(init, apply)


def _gated(data, width, gates, step):
    """Return a recurrent network that reads an image row by row. `step` makes the new state. It gets the old one, and
    what the row and the old state give to each gate."""

    def init(key):
        a, b, c = jax.random.split(key, 3)
        columns = data.size // data.shape[0]
        return _dense(a, columns, gates * width), _dense(b, width, gates * width)[0], _dense(c, width, data.classes)

    def apply(params, images):
        (weight, bias), back, (out, out_bias) = params
        rows = images.reshape(len(images), images.shape[1], -1).swapaxes(0, 1)

        def read(state, x):
            return step(state, jnp.split(x @ weight + bias, gates, -1), jnp.split(state @ back, gates, -1)), None

        state, _ = jax.lax.scan(read, jnp.zeros((len(images), back.shape[0])), rows)
        return state @ out + out_bias

    return Network(init, apply)


def gru(data, width=20):
    """Return a recurrent network with gates, which reads an image row by row."""

    def step(state, row, before):
        (reset, update, new), (old_reset, old_update, old) = row, before
        update = jax.nn.sigmoid(update + old_update)
        return update * state + (1 - update) * jnp.tanh(new + jax.nn.sigmoid(reset + old_reset) * old)

    return _gated(data, width, 3, step)


def experts(data, count=6, width=12):
    """Return small networks whose answers a softmax mixes."""

    def init(key):
        a, b, c = jax.random.split(key, 3)
        up = jax.random.normal(a, (count, data.size, width)) * (2 / data.size) ** 0.5
        return up, jax.random.normal(b, (count, width, data.classes)) / width**0.5, _dense(c, data.size, count)

    def apply(params, images):
        up, down, (weight, bias) = params
        x = images.reshape(len(images), -1)
        answers = jnp.einsum("enw,ewc->nec", jax.nn.relu(jnp.einsum("ni,eiw->enw", x, up)), down)
        return (jax.nn.softmax(x @ weight + bias)[..., None] * answers).sum(1)

    return Network(init, apply)


def splines(data, knots=9, width=10):
    """Return sums of piecewise linear functions of single inputs, twice."""

    def init(key):
        a, b = jax.random.split(key)
        first = jax.random.normal(a, (data.size, knots, width)) * (3 / data.size / knots) ** 0.5
        return first, jax.random.normal(b, (width, knots, data.classes)) * (3 / width / knots) ** 0.5

    def apply(params, images):
        x = images.reshape(len(images), -1)
        for weight in params:
            hats = jax.nn.relu(1 - jnp.abs(x[..., None] - jnp.linspace(-2, 2, knots)) * (knots - 1) / 4)
            x = jnp.einsum("nik,iko->no", hats, weight)
        return x

    return Network(init, apply)


def soft_tree(data, depth=4):
    """Return a tree of soft splits, with a row of logits at each leaf."""

    def init(key):
        a, b = jax.random.split(key)
        return _dense(a, data.size, 2**depth - 1, 1.5), jax.random.normal(b, (2**depth, data.classes))

    def apply(params, images):
        (weight, bias), leaves = params
        right = jax.nn.sigmoid(images.reshape(len(images), -1) @ weight + bias)
        shares = jnp.ones((len(images), 1))
        for level in range(depth):
            split = right[:, 2**level - 1 : 2 ** (level + 1) - 1]
            shares = jnp.stack([shares * (1 - split), shares * split], -1).reshape(len(images), -1)
        return shares @ leaves

    return Network(init, apply)


def deep_tanh(data, width=20, layers=9, gain=0.8):
    """Return a deep narrow network of tanh, whose signal fades at the start."""

    def init(key):
        sizes = [data.size, *[width] * layers, data.classes]
        keys = jax.random.split(key, layers + 1)
        return [_dense(k, a, b, gain) for k, a, b in zip(keys, sizes[:-1], sizes[1:], strict=True)]

    def apply(params, images):
        x = images.reshape(len(images), -1)
        for weight, bias in params[:-1]:
            x = jnp.tanh(x @ weight + bias)
        return x @ params[-1][0] + params[-1][1]

    return Network(init, apply)


def prototypes(data, count=3):
    """Return the nearness of an image to the nearest of a few points of each class."""

    def init(key):
        return 0.3 * jax.random.normal(key, (data.classes, count, data.size)), jnp.zeros(())

    def apply(params, images):
        x = images.reshape(len(images), 1, 1, -1)
        return jax.nn.logsumexp(-((x - params[0]) ** 2).mean(-1) * jnp.exp(params[1]) * 4, -1)

    return Network(init, apply)


def separable(data, filters=10):
    """Return convolutions of each channel alone, with gaps, between layers of single pixels, and the maxima."""

    def init(key):
        a, b, c, d = jax.random.split(key, 4)
        channels = data.shape[2] if len(data.shape) == 3 else 1
        depthwise = jax.random.normal(b, (3, 3, 1, filters)) * 0.5
        return (
            _dense(a, channels, filters, 1.4),
            depthwise,
            _dense(c, filters, 2 * filters, 1.4),
            _dense(d, 2 * filters, data.classes),
        )

    def apply(params, images):
        (first, a), kernel, (second, b), (out, c) = params
        x = jax.nn.silu((images if images.ndim == 4 else images[..., None]) @ first + a)
        x = x + jax.lax.conv_general_dilated(
            x,
            kernel,
            (1, 1),
            "SAME",
            rhs_dilation=(2, 2),
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            feature_group_count=x.shape[-1],
        )
        return jax.nn.silu(x @ second + b).max((1, 2)) @ out + c

    return Network(init, apply)


def weight_normed(data, width=32):
    """Return two layers whose weights have a length of their own, with squared ReLU."""

    def init(key):
        sizes = [data.size, width, width, data.classes]
        keys = jax.random.split(key, 3)
        return [
            (jax.random.normal(k, (a, b)), jnp.ones(b), jnp.zeros(b))
            for k, a, b in zip(keys, sizes, sizes[1:], strict=False)
        ]

    def apply(params, images):
        x = images.reshape(len(images), -1)
        for i, (direction, length, bias) in enumerate(params):
            x = jnp.square(jax.nn.relu(x)) if i else x
            x = x @ (direction / jnp.linalg.norm(direction, axis=0)) * length + bias
        return x

    return Network(init, apply)


def random_features(data, width=300):
    """Return a linear layer on random ReLU units, which are not trained."""

    def init(key):
        return jnp.zeros((width, data.classes)), jnp.zeros(data.classes)

    def apply(params, images):
        directions = jax.random.normal(jax.random.key(3), (data.size, width)) / data.size**0.5
        return jax.nn.relu(images.reshape(len(images), -1) @ directions) @ params[0] + params[1]

    return Network(init, apply)


def row_set(data, width=24):
    """Return a network of the sum over the rows of an image, whose order it can't see."""

    def init(key):
        a, b, c = jax.random.split(key, 3)
        return (
            _dense(a, data.size // data.shape[0], width, 1.4),
            _dense(b, width, width, 1.4),
            _dense(c, width, data.classes),
        )

    def apply(params, images):
        (first, a), (second, b), (out, c) = params
        x = jax.nn.leaky_relu(images.reshape(len(images), images.shape[1], -1) @ first + a).mean(1)
        return jax.nn.leaky_relu(x @ second + b) @ out + c

    return Network(init, apply)


def products(data, width=40):
    """Return the products of three linear layers."""

    def init(key):
        *keys, last = jax.random.split(key, 4)
        return [_dense(k, data.size, width, 1.5) for k in keys], _dense(last, width, data.classes)

    def apply(params, images):
        x = images.reshape(len(images), -1)
        a, b, c = (x @ weight + bias + 0.5 for weight, bias in params[0])
        return a * b * c @ params[1][0] + params[1][1]

    return Network(init, apply)


def sparse(data, width=80, share=0.15):
    """Return two layers of which most weights are zero and stay so."""

    def init(key):
        a, b, c = jax.random.split(key, 3)
        gain = (2 / share) ** 0.5
        return _dense(a, data.size, width, gain), _dense(b, width, width, gain), _dense(c, width, data.classes)

    def apply(params, images):
        x = images.reshape(len(images), -1)
        for i, (weight, bias) in enumerate(params[:-1]):
            kept = jax.random.bernoulli(jax.random.key(i), share, weight.shape)
            x = jax.nn.relu(x @ jnp.where(kept, weight, 0.0) + bias)
        return x @ params[-1][0] + params[-1][1]

    return Network(init, apply)


def silu_pair(data, width=32):
    """Return two SiLU layers."""

    def init(key):
        sizes = [data.size, width, width, data.classes]
        return [_dense(k, a, b, 1.3) for k, a, b in zip(jax.random.split(key, 3), sizes[:-1], sizes[1:], strict=True)]

    def apply(params, images):
        x = images.reshape(len(images), -1)
        for weight, bias in params[:-1]:
            x = jax.nn.silu(x @ weight + bias)
        return x @ params[-1][0] + params[-1][1]

    return Network(init, apply)


def small_start(data, width=40, gain=0.15):
    """Return two tanh layers whose initial weights are small: they learn slowly, then fast."""

    def init(key):
        sizes = [data.size, width, width, data.classes]
        return [_dense(k, a, b, gain) for k, a, b in zip(jax.random.split(key, 3), sizes[:-1], sizes[1:], strict=True)]

    def apply(params, images):
        x = images.reshape(len(images), -1)
        for weight, bias in params[:-1]:
            x = jnp.tanh(x @ weight + bias)
        return x @ params[-1][0] + params[-1][1]

    return Network(init, apply)


def scaled(data, width=100):
    """Return one wide tanh layer whose weights have variance 1 and whose sums are scaled instead."""

    def init(key):
        a, b = jax.random.split(key)
        first = jax.random.normal(a, (data.size, width)), jnp.zeros(width)
        return first, (jax.random.normal(b, (width, data.classes)), jnp.zeros(data.classes))

    def apply(params, images):
        (weight, bias), (out, out_bias) = params
        x = jnp.tanh(images.reshape(len(images), -1) @ weight / data.size**0.5 + bias)
        return x @ out / width**0.5 + out_bias

    return Network(init, apply)


def strided(data, filters=10):
    """Return a convolution over pairs of rows, without overlap, and a ReLU layer."""

    def init(key):
        a, b, c = jax.random.split(key, 3)
        pairs, columns = data.shape[0] // 2, data.size // data.shape[0]
        first = _dense(a, 2 * columns, filters, 1.4)
        return first, _dense(b, pairs * filters, 24, 1.4), _dense(c, 24, data.classes)

    def apply(params, images):
        (kernel, shift), (weight, bias), (out, out_bias) = params
        pairs = images.shape[1] // 2
        x = images.reshape(len(images), images.shape[1], -1)[:, : 2 * pairs].reshape(len(images), pairs, -1)
        x = jax.nn.relu(x @ kernel + shift).reshape(len(images), -1)
        return jax.nn.relu(x @ weight + bias) @ out + out_bias

    return Network(init, apply)


def two_heads(data, width=16):
    """Return a block of a transformer over the rows of an image: two heads, a GELU layer, root-mean-square norms."""

    def init(key):
        keys = jax.random.split(key, 6)
        return {
            "in": _dense(keys[0], data.size // data.shape[0], width),
            "place": 0.3 * jax.random.normal(keys[1], (data.shape[0], width)),
            "qkv": _dense(keys[2], width, 3 * width)[0],
            "up": _dense(keys[3], width, 2 * width),
            "down": _dense(keys[4], 2 * width, width),
            "out": _dense(keys[5], width, data.classes),
        }

    def normed(x):
        return x / jnp.sqrt((x**2).mean(-1, keepdims=True) + 1e-5)

    def apply(params, images):
        x = images.reshape(len(images), images.shape[1], -1) @ params["in"][0] + params["in"][1] + params["place"]
        heads = (normed(x) @ params["qkv"]).reshape(*x.shape[:2], 3, 2, width // 2)
        query, key, value = (heads[:, :, i] for i in range(3))
        shares = jax.nn.softmax(jnp.einsum("nqhd,nkhd->nhqk", query, key) / (width // 2) ** 0.5)
        x = x + jnp.einsum("nhqk,nkhd->nqhd", shares, value).reshape(x.shape)
        x = x + jax.nn.gelu(normed(x) @ params["up"][0] + params["up"][1]) @ params["down"][0] + params["down"][1]
        return normed(x).mean(1) @ params["out"][0] + params["out"][1]

    return Network(init, apply)


def low_rank(data, width=40, rank=5):
    """Return two ReLU layers whose matrices are products of two thin ones."""

    def init(key):
        keys = jax.random.split(key, 5)
        sizes = [(data.size, rank), (rank, width), (width, rank), (rank, width), (width, data.classes)]
        return [_dense(k, a, b, 1.2) for k, (a, b) in zip(keys, sizes, strict=True)]

    def apply(params, images):
        x = images.reshape(len(images), -1)
        for i, (weight, bias) in enumerate(params[:-1]):
            x = x @ weight + bias
            x = jax.nn.relu(x) if i % 2 else x
        return x @ params[-1][0] + params[-1][1]

    return Network(init, apply)


def leaky(data, width=24, layers=4):
    """Return a deep, narrow network of leaky ReLU."""

    def init(key):
        sizes = [data.size, *[width] * layers, data.classes]
        keys = jax.random.split(key, layers + 1)
        return [_dense(k, a, b, 1.3) for k, a, b in zip(keys, sizes[:-1], sizes[1:], strict=True)]

    def apply(params, images):
        x = images.reshape(len(images), -1)
        for weight, bias in params[:-1]:
            x = jax.nn.leaky_relu(x @ weight + bias, 0.1)
        return x @ params[-1][0] + params[-1][1]

    return Network(init, apply)


def snake(data, width=48, layers=2):
    """Return a network of units `x + sin(x)**2`."""

    def init(key):
        sizes = [data.size, *[width] * layers, data.classes]
        return [_dense(k, a, b) for k, a, b in zip(jax.random.split(key, layers + 1), sizes, sizes[1:], strict=False)]

    def apply(params, images):
        x = images.reshape(len(images), -1)
        for weight, bias in params[:-1]:
            x = x @ weight + bias
            x += jnp.sin(x) ** 2
        return x @ params[-1][0] + params[-1][1]

    return Network(init, apply)


def minimal_gated(data, width=20):
    """Return a recurrent network with one gate, which reads an image row by row."""

    def step(state, row, before):
        (gate, new), (old_gate, old) = row, before
        gate = jax.nn.sigmoid(gate + old_gate)
        return (1 - gate) * state + gate * jnp.tanh(new + gate * old)

    return _gated(data, width, 2, step)


def pooled(data, filters=6):
    """Return a convolution with ReLU, the largest value of each 2 by 2 fields, and a ReLU layer."""

    def init(key):
        a, b, c = jax.random.split(key, 3)
        kernel = jax.random.normal(a, (3, 3, 1, filters)) * (2 / 9) ** 0.5
        fields = (data.shape[0] // 2) * (data.shape[1] // 2) * filters
        return kernel, _dense(b, fields, 20, 1.4), _dense(c, 20, data.classes)

    def apply(params, images):
        kernel, (weight, bias), (out, out_bias) = params
        dimensions = ("NHWC", "HWIO", "NHWC")
        x = jax.lax.conv_general_dilated(images[..., None], kernel, (1, 1), "SAME", dimension_numbers=dimensions)
        n, rows, columns, _ = x.shape
        x = x[:, : rows // 2 * 2, : columns // 2 * 2].reshape(n, rows // 2, 2, columns // 2, 2, filters).max((2, 4))
        return jax.nn.relu(jax.nn.relu(x).reshape(n, -1) @ weight + bias) @ out + out_bias

    return Network(init, apply)


def noisy_units(data, width=48, noise=0.4):
    """Return a ReLU layer and a tanh layer to which noise is added in training."""

    def init(key):
        sizes = [data.size, width, width, data.classes]
        params = [_dense(k, a, b, 1.3) for k, a, b in zip(jax.random.split(key, 3), sizes[:-1], sizes[1:], strict=True)]
        return params, {}

    def forward(params, images, first, second):
        (a, a_bias), (b, b_bias), (out, out_bias) = params
        x = jax.nn.relu(images.reshape(len(images), -1) @ a + a_bias) + first
        return (jnp.tanh(x @ b + b_bias) + second) @ out + out_bias

    def apply(params, state, images):
        return forward(params, images, 0.0, 0.0)

    def train_apply(params, state, images, key):
        first, second = noise * jax.random.normal(key, (2, len(images), width))
        return forward(params, images, first, second), state

    return Network(init, apply, train_apply)


def pairwise(data, rank=6):
    """Return a linear layer and weighted products of pairs of inputs, by vectors for each input and class."""

    def init(key):
        a, b = jax.random.split(key)
        return _dense(a, data.size, data.classes), 0.3 * jax.random.normal(b, (data.size, rank, data.classes))

    def apply(params, images):
        (weight, bias), vectors = params
        x = images.reshape(len(images), -1)
        sums, squares = jnp.einsum("ni,irc->nrc", x, vectors), jnp.einsum("ni,irc->nrc", x**2, vectors**2)
        return x @ weight + bias + (sums**2 - squares).sum(1) / 2

    return Network(init, apply)


def both_signs(data, width=20):
    """Return two layers that pass on the positive and the negative part of each unit."""

    def init(key):
        a, b, c = jax.random.split(key, 3)
        return _dense(a, data.size, width), _dense(b, 2 * width, width), _dense(c, 2 * width, data.classes)

    def apply(params, images):
        x = images.reshape(len(images), -1)
        for weight, bias in params[:-1]:
            x = x @ weight + bias
            x = jnp.concatenate([jax.nn.relu(x), jax.nn.relu(-x)], -1)
        return x @ params[-1][0] + params[-1][1]

    return Network(init, apply)


def gated_units(data, width=40):
    """Return two layers of units that multiply a GELU with a linear map, each normed by its root mean square."""

    def init(key):
        keys = jax.random.split(key, 6)
        return {
            "in": [_dense(keys[0], data.size, width), _dense(keys[1], data.size, width)],
            "hidden": [_dense(keys[2], width, width), _dense(keys[3], width, width)],
            "out": _dense(keys[4], width, data.classes),
        }

    def apply(params, images):
        x = images.reshape(len(images), -1)
        for gate, up in (params["in"], params["hidden"]):
            x = jax.nn.gelu(x @ gate[0] + gate[1]) * (x @ up[0] + up[1])
            x = x / jnp.sqrt((x**2).mean(-1, keepdims=True) + 1e-5)
        return x @ params["out"][0] + params["out"][1]

    return Network(init, apply)


def softplus(data, width=64, layers=2):
    """Return layers of softplus units, shifted to be 0 at 0."""

    def init(key):
        sizes = [data.size, *[width] * layers, data.classes]
        return [
            _dense(k, a, b, 1.5) for k, a, b in zip(jax.random.split(key, layers + 1), sizes, sizes[1:], strict=False)
        ]

    def apply(params, images):
        x = images.reshape(len(images), -1)
        for weight, bias in params[:-1]:
            x = jax.nn.softplus(x @ weight + bias) - jnp.log(2.0)
        return x @ params[-1][0] + params[-1][1]

    return Network(init, apply)


def squeezed(data, filters=24, side=4):
    """Return filters of patches, each scaled by a gate that sees its mean over the image (squeeze and excite)."""
    rows, columns = data.shape[0] // side, data.shape[1] // side

    def init(key):
        keys = jax.random.split(key, 3)
        return {
            "patch": _dense(keys[0], side * side, filters, 2.0),
            "gate": _dense(keys[1], filters, filters),
            "out": _dense(keys[2], rows * columns * filters, data.classes),
        }

    def apply(params, images):
        x = images.reshape(-1, rows, side, columns, side).swapaxes(2, 3).reshape(-1, rows * columns, side * side)
        x = jax.nn.relu(x @ params["patch"][0] + params["patch"][1])
        gate = jax.nn.sigmoid(x.mean(1) @ params["gate"][0] + params["gate"][1])
        x = (x * gate[:, None]).reshape(len(images), -1)
        return x @ params["out"][0] + params["out"][1]

    return Network(init, apply)


def dilated(data, filters=10, steps=(1, 2, 4)):
    """Return filters of three values of a series, ever farther apart, added to what they see."""

    def init(key):
        first, last, *rest = jax.random.split(key, 2 + len(steps))
        return {
            "in": _dense(first, 1, filters),
            "layers": [_dense(k, 3 * filters, filters) for k in rest],
            "out": _dense(last, data.size * filters, data.classes),
        }

    def apply(params, images):
        x = images.reshape(len(images), -1, 1) @ params["in"][0] + params["in"][1]
        for (weight, bias), step in zip(params["layers"], steps, strict=True):
            seen = jnp.concatenate([jnp.roll(x, step, 1), x, jnp.roll(x, -step, 1)], -1)
            x = x + jax.nn.relu(seen @ weight + bias)
        return x.reshape(len(images), -1) @ params["out"][0] + params["out"][1]

    return Network(init, apply)


def acprop(learning_rate):
    return optax.contrib.acprop(learning_rate)


def adopt(learning_rate):
    return optax.contrib.adopt(learning_rate)


def madgrad(learning_rate):
    return optax.contrib.madgrad(learning_rate)


def schedule_free(learning_rate):
    return optax.contrib.schedule_free_sgd(learning_rate)


def simplified_ademamix(learning_rate):
    return optax.contrib.simplified_ademamix(learning_rate)


def nadam(learning_rate):
    return optax.nadam(learning_rate)


def adabelief(learning_rate):
    return optax.adabelief(learning_rate)


def signs(learning_rate):
    return optax.sign_sgd(learning_rate)


def yogi(learning_rate):
    return optax.yogi(learning_rate)


def adamax(learning_rate):
    return optax.adamax(learning_rate)


def radam(learning_rate):
    return optax.radam(learning_rate)


def lamb(learning_rate):
    return optax.lamb(learning_rate)


def amsgrad(learning_rate):
    return optax.amsgrad(learning_rate)


def novograd(learning_rate):
    return optax.novograd(learning_rate)


def rprop(learning_rate):
    return optax.rprop(learning_rate)


def adadelta(learning_rate):
    return optax.adadelta(learning_rate)


def adan(learning_rate):
    return optax.adan(learning_rate)


def lars(learning_rate):
    return optax.lars(learning_rate)


def fromage(learning_rate):
    return optax.fromage(learning_rate)


def sm3(learning_rate):
    return optax.sm3(learning_rate)


def optimistic(learning_rate):
    return optax.optimistic_gradient_descent(learning_rate)


def noisy(learning_rate):
    return optax.noisy_sgd(learning_rate, seed=0)


def adafactor(learning_rate):
    return optax.adafactor(learning_rate)


def nadamw(learning_rate):
    return optax.nadamw(learning_rate, weight_decay=0.1)


def centred(learning_rate):
    return optax.rmsprop(learning_rate, centered=True, momentum=0.9)


def ademamix(learning_rate):
    return optax.contrib.ademamix(learning_rate)


def muon(learning_rate):
    return optax.contrib.muon(learning_rate)


def adamaxw(learning_rate):
    return optax.adamaxw(learning_rate, weight_decay=0.01)


def signum(learning_rate):
    return optax.chain(optax.trace(0.9), optax.scale_by_sign(), optax.scale_by_learning_rate(learning_rate))
