"""Networks, quantizers and their trained weights; `omnicodec.codecs` puts them to use."""
