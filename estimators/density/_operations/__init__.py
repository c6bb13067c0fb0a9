"""What a fitted density is asked as a law: marginals, quantiles, divergences, level sets."""
