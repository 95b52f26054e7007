"""What people do with a model and images, as functions that print nothing. Each returns a value that shows and saves itself."""
