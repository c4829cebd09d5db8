"""One token on an OpenCL device: id in, state carried on the device, best ids and log probabilities out."""
