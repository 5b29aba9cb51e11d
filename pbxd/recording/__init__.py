"""Room for recordings and voicemail: policy, recorder, vault, retention."""
