"""The checks of chapter 2's exercises."""
