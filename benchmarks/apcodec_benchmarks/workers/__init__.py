"""The processes that hold contenders: one side in the child, the other one ours."""
