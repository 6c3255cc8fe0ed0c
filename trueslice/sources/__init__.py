"""Sources of scans: phantoms drawn here, data sets of Kaggle and figshare, and folders or .zip files on disk."""
