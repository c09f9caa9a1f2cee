# Made of ../_async by `make client`: what is changed here is lost.
