"""The patients of scans."""
