"""The paper's statistics files as priors."""
