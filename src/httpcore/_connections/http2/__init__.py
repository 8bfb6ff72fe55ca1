"""HTTP/2 connections: many exchanges at once on one stream."""

from .connection import HTTP2Connection

__all__ = ["HTTP2Connection"]
