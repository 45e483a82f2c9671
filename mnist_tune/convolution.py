def convnet_logits(p, x):
    raise NotImplementedError
