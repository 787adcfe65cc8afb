"""Methods of ICLR 2020 as exact, tested PyTorch building blocks.

Each area is a package (`iclr2020.sets`, `iclr2020.gradients`, ...) and each paper one file in it:
functions first, then the module, loss or optimizer. Importing `iclr2020` imports none of them.

Example:
    >>> import iclr2020
    >>> from iclr2020.generative import sumo
    >>> iclr2020.cite(sumo)  # doctest: +ELLIPSIS
    @inproceedings{luo2020sumo,
      title = {{SUMO}: Unbiased Estimation of Log Marginal Probability for Latent Variable Models},
      author = {Luo, Yucen and Beatson, Alex and ... and Chen, Ricky T. Q.},
      booktitle = {International Conference on Learning Representations},
      year = {2020},
      eprint = {2004.00353},
      archivePrefix = {arXiv},
    }
"""

from iclr2020.citation import cite, references

__all__ = ["cite", "references"]
__version__ = "0.2.0"
