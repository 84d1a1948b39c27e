"""Vision-based distillation: a small text encoder learns to steer the frozen teacher as the large one does.

    settings   what is trained, on what, in which phases
    teacher    the frozen diffusion transformer and its encoders
    student    T5 encoder of any size plus projection
    following  the loop from noise to picture, one loss at each step

Source: Wang, Liu, Liu, He: Scaling Down Text Encoders of Text-to-Image Diffusion Models (arXiv 2503.19897).
Needs the models extra (torch, transformers, diffusers); nothing here imports them before it is called.
"""
