"""Golden scripts: a program, what happens to it, and every event and every touch of the world that follows."""
