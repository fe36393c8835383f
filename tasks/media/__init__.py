"""Pictures: video files, footage, masks, drawing."""
