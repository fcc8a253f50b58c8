"""The gateway: speaks HTTP, decides who answers, and sees to it that somebody does."""
