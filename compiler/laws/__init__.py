"""Law forms: how robust loss depends on parameters N, images D and the Fréchet distance of the data (FID).

One file per form; `forms.registry.LAWS` has them all, and those of third parties. Symbols are the papers':
N parameters, D images seen, C training FLOPs, L loss, q = ln(1 + FID); A B E alpha beta epsilon zeta Q kappa
as in Bartoldson et al. 2024 (Approaches 1 to 3) and Hoffmann et al. 2022 (arXiv:2203.15556)."""
