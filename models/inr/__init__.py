"""Fitted representations: an item becomes latents and small networks, fitted to it.

After Cool-chic (Ladune et al. 2023, arXiv:2212.05458; Leguay et al. 2023, arXiv:2307.12706) and C3
(Kim et al. 2024, arXiv:2312.02753). Here the networks are trained once and ship; an item adds its
latents, and what its networks differ by.

    pyramid.py            which planes of latents there are, their order, what each sees of others
    wavelet.py            the transform that everything begins as
    analysis.py           from pixels to the latents that a fit begins with
    synthesis.py          from latents to pixels, as it is fitted
    exact_synthesis.py    the same in integers, as streams need it
    exact_convolution.py, exact_kernels.py
    arm.py                the model of each latent given those before it, as it is fitted
    arm_kernels.py        its bits and their gradient, compiled
    exact_arm.py          the same in integers
    image.py              all networks of a picture
    rounding.py           quantization that has gradients
    updates.py            what an item's networks differ by, as integers
    classes.py            which distribution codes some integers in the fewest bits
    fit.py                a picture being fitted
    bands.py              rows side by side on threads

    order.py              in which order the frames of a group are coded, and from which
    motion/               motion between frames
    residual.py           what a predicted frame lacks, as bands
    residual_planes.py    their contexts, and the choice of latents
    frames.py             frames from their integers
    group.py              a group of frames being encoded
    hnerv/                the reference of video
"""
