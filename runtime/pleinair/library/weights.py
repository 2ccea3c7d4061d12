"""In which numbers the weights of a bundle are stored."""

from pleinair.bundle.opening import Bundle


def network_weights(bundle: Bundle) -> str:
    """How the weights of the network of the loop are stored, or of that which a bundle has in its place."""
    manifest = bundle.manifest
    names = [denoiser.graph for denoiser in manifest.denoisers] or [*manifest.graphs]
    return manifest.graphs[names[0]].weights
