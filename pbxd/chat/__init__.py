"""Chats: rooms, messages, delivery, and SIP MESSAGE in and out."""
