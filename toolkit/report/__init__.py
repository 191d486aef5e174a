"""What people read: the document of a fit, its figures, its pages, its text."""
