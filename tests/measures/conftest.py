from small_text import text, text_file

__all__ = ["text", "text_file"]
