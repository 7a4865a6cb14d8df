"""The path, one stage a file, one public function each; no stage knows another."""
