"""What stands in an audio file: each kind's structure, walked to the file's end."""
