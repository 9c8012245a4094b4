"""Scenes made of photos and panoramas: a camera, night, views of panoramas, and the command that writes them."""
