"""Forms of the estimate: how centres, widths and kernel are learned, changed and chosen.

`_learn` moves centres and shapes the kernel by leave-one-out likelihood, `_widths` varies the
kernels' widths, `_debias` and `_scales` change a fitted density, and `_auto` judges all of them
on rows held out and keeps a `_selection` record.
"""
