"""Jobs of more than one picture: lists, films between prompts, pictures made again."""
