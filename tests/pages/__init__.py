"""The programs in the pages about the library. Each page has them word for word, and tests run them."""
