"""What is written to disk: pictures, films, and the record that they hold."""
