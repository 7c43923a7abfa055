from small_text import cache, text, text_file

__all__ = ["cache", "text", "text_file"]
