"""How good a pipeline's answers are, by documents whose right answers are known."""
