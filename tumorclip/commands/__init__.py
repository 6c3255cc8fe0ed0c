"""What people type: `tumorclip <command>`."""
