"""Mails by the admin's own server: shared by reports and voicemail. What speaks SMTP runs in processes of its own only."""
